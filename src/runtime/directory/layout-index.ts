import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { z } from 'zod';

import { writeFileAtomic } from '../../common/atomic-file.js';
import { errnoOf } from '../../common/errno.js';
import { readSmallFile } from '../../common/small-file.js';
import { type Digest, isDigest } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import { parseShallowJson } from '../../domain/shallow-json.js';

const REF_NAME = 'org.opencontainers.image.ref.name';
const CONTAINERD_NAME = 'io.containerd.image.name';

/** What a name stands for: a manifest or an index. */
export interface LayoutEntry {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

const document = z.object({
  manifests: z.array(
    z.object({
      mediaType: z.string(),
      digest: z.custom<Digest>((value) => typeof value === 'string' && isDigest(value)),
      size: z.number().int().nonnegative(),
      annotations: z.record(z.string(), z.string()).optional(),
    }),
  ),
});

/** The names of an OCI image layout: its `index.json`, one entry per name. The file is the truth; nothing is remembered. */
export class LayoutIndex {
  private tail: Promise<unknown> = Promise.resolve();

  constructor(private readonly directory: string) {}

  /** @throws PreheatFailure `runtime_error` when the file is not an index; InvalidInputError `INVALID_FILE` when it is no file */
  async read(): Promise<ReadonlyMap<string, LayoutEntry>> {
    let text: string;
    try {
      text = (await readSmallFile(join(this.directory, 'index.json'))).toString();
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return new Map();
      throw error;
    }
    try {
      const { manifests } = document.parse(parseShallowJson(text));
      return new Map(
        manifests.flatMap(({ mediaType, digest, size, annotations }): [string, LayoutEntry][] => {
          const name = annotations?.[REF_NAME];
          return name === undefined ? [] : [[name, { mediaType, digest, size }]];
        }),
      );
    } catch (cause) {
      throw new PreheatFailure('runtime_error', `${this.directory}/index.json is not an OCI image index`, {
        cause,
      });
    }
  }

  /** Changes the names, one change after the other. Readers see all of a change or nothing of it. */
  async change(edit: (names: Map<string, LayoutEntry>) => void): Promise<void> {
    const turn = this.tail.then(async () => {
      const names = new Map(await this.read());
      edit(names);
      await mkdir(this.directory, { recursive: true });
      await writeFileAtomic(join(this.directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}', 0o644);
      await writeFileAtomic(join(this.directory, 'index.json'), formatIndex(names), 0o644);
    });
    this.tail = turn.catch(() => undefined);
    await turn;
  }
}

/** `index.json` for these names. */
export function formatIndex(names: ReadonlyMap<string, LayoutEntry>): string {
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [...names].map(([name, entry]) => ({
      ...entry,
      annotations: { [REF_NAME]: name, [CONTAINERD_NAME]: name },
    })),
  });
}
