import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import type { KubernetesObject } from '@kubernetes/client-node';

import { render } from './kubectl.js';

const PROJECT = resolve(__dirname, '../..');

/**
 * What somebody gets who keeps this kustomization in a folder of their own, beside a checkout of the project called
 * `image-preheat`.
 * @param text content of its kustomization.yaml
 */
export async function renderBesideProject(text: string): Promise<readonly KubernetesObject[]> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'preheat-kustomization-')));
  try {
    await symlink(PROJECT, join(directory, 'image-preheat'));
    const own = join(directory, 'own');
    await mkdir(own);
    await writeFile(join(own, 'kustomization.yaml'), text);
    return await render(own);
  } finally {
    await rm(directory, { recursive: true });
  }
}
