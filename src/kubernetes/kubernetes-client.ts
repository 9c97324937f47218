import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { request } from 'undici';
import { z } from 'zod';

import { withTimeout } from '../common/abort.js';
import { Clock } from '../common/clock.js';
import { AppConfig } from '../config/app-config.js';
import { messageOf } from '../domain/errors.js';
import { KubernetesError } from './kubernetes-error.js';
import { KubernetesSession } from './kubernetes-session.js';

/** One operation of a JSON Patch (RFC 6902). */
export type PatchOperation =
  | { readonly op: 'test' | 'add' | 'replace'; readonly path: string; readonly value: string | null }
  | { readonly op: 'remove'; readonly path: string };

const REQUEST_TIMEOUT_MS = 10_000;
/** A ConfigMap holds 1 MiB, which escaping in JSON and managed fields can multiply. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
/** Metadata alone comes back from a patch: nobody looks at the other records in it. */
const METADATA_ONLY = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
const FIELD_MANAGER = 'image-preheat';

const configMapSchema = z.object({ data: z.record(z.string(), z.string()).optional() });
const secretSchema = z.object({
  metadata: z.object({ resourceVersion: z.string().optional() }).optional(),
  data: z.record(z.string(), z.base64()).nullish(),
});
const statusSchema = z.object({ reason: z.string().max(100).optional() });

/**
 * The few calls to the API server that this program makes, all in its own namespace, each with a time-out.
 * All throw `KubernetesError`, and reject with the signal's reason when it aborts.
 */
@Injectable()
export class KubernetesClient implements OnApplicationShutdown {
  private readonly session: KubernetesSession;
  private readonly namespace: string;

  constructor(
    @Inject(AppConfig) config: Pick<AppConfig, 'inCluster' | 'kubernetes'>,
    @Inject(Clock) clock: Clock,
  ) {
    this.session = new KubernetesSession(config.inCluster, clock);
    this.namespace = config.kubernetes.namespace;
  }

  /**
   * @param cached may be answered from the API server's watch cache, which costs etcd nothing but may lag
   * @returns its `data`, or undefined when there is no such ConfigMap
   */
  async readConfigMap(
    name: string,
    cached: boolean,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, string>> | undefined> {
    const query = cached ? '?resourceVersion=0' : '';
    const answer = await this.find(`configmaps/${encodeURIComponent(name)}${query}`, signal);
    return answer === undefined ? undefined : (parse(configMapSchema, answer).data ?? {});
  }

  /** Status 422 when a `test` fails, or when the result is not a valid ConfigMap: the status alone does not tell. */
  async patchConfigMap(
    name: string,
    operations: readonly PatchOperation[],
    signal: AbortSignal,
  ): Promise<void> {
    const path = `configmaps/${encodeURIComponent(name)}?fieldManager=${FIELD_MANAGER}`;
    await this.call('PATCH', path, signal, {
      accept: METADATA_ONLY,
      contentType: 'application/json-patch+json',
      document: operations,
    });
  }

  /** @returns its decoded `data`, or undefined when there is no such Secret */
  async readSecret(name: string, signal: AbortSignal): Promise<Readonly<Record<string, Buffer>> | undefined> {
    const answer = await this.find(`secrets/${encodeURIComponent(name)}`, signal);
    if (answer === undefined) return undefined;
    const { data } = parse(secretSchema, answer);
    return Object.fromEntries(
      Object.entries(data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')]),
    );
  }

  /** Creates the Secret unless there is one. */
  async createSecret(
    name: string,
    data: Readonly<Record<string, Buffer>>,
    signal: AbortSignal,
  ): Promise<'created' | 'exists'> {
    const document = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'Opaque',
      metadata: { name },
      data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, value.toString('base64')])),
    };
    try {
      await this.call('POST', `secrets?fieldManager=${FIELD_MANAGER}`, signal, {
        accept: METADATA_ONLY,
        contentType: 'application/json',
        document,
      });
      return 'created';
    } catch (error) {
      if (error instanceof KubernetesError && error.status === 409) return 'exists';
      throw error;
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.session.close();
  }

  private async find(path: string, signal: AbortSignal): Promise<unknown> {
    try {
      return await this.call('GET', path, signal, { accept: 'application/json' });
    } catch (error) {
      if (error instanceof KubernetesError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** A refused token is read again from its file, once. */
  private async call(
    method: 'GET' | 'PATCH' | 'POST',
    path: string,
    signal: AbortSignal,
    body: RequestBody,
  ): Promise<unknown> {
    try {
      return await this.send(method, path, signal, body, false);
    } catch (error) {
      if (!(error instanceof KubernetesError) || error.status !== 401) throw error;
      return this.send(method, path, signal, body, true);
    }
  }

  private async send(
    method: 'GET' | 'PATCH' | 'POST',
    path: string,
    signal: AbortSignal,
    { accept, contentType, document }: RequestBody,
    renewAccess: boolean,
  ): Promise<unknown> {
    const { server, headers, dispatcher } = await this.session.current(renewAccess);
    const url = `${server}/api/v1/namespaces/${encodeURIComponent(this.namespace)}/${path}`;
    const what = `${method} ${path.split('?', 1)[0] ?? ''}`;
    try {
      return await withTimeout(
        REQUEST_TIMEOUT_MS,
        () => new KubernetesError(undefined, undefined, `${what}: no answer in ${REQUEST_TIMEOUT_MS} ms`),
        async (limited) => {
          const answer = await request(url, {
            method,
            headers: {
              ...headers,
              accept,
              'user-agent': 'image-preheat',
              ...(contentType && { 'content-type': contentType }),
            },
            ...(document !== undefined && { body: toGoJson(document) }),
            dispatcher,
            signal: limited,
          });
          const text = await readText(answer.body);
          if (answer.statusCode >= 200 && answer.statusCode < 300) return parseJson(text);
          const reason = reasonOf(text);
          throw new KubernetesError(
            answer.statusCode,
            reason,
            `${what}: ${answer.statusCode}${reason ? ` ${reason}` : ''}`,
          );
        },
        signal,
      );
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      if (cause instanceof KubernetesError) throw cause;
      throw new KubernetesError(undefined, undefined, `${what}: ${messageOf(cause)}`, { cause });
    }
  }
}

interface RequestBody {
  readonly accept: string;
  readonly contentType?: string;
  readonly document?: unknown;
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of body) {
    sizeBytes += part.length;
    if (sizeBytes > MAX_ANSWER_BYTES)
      throw new KubernetesError(undefined, undefined, `an answer of more than ${MAX_ANSWER_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/**
 * JSON as Go writes it. The API server compares the `test` values of a patch with its own encoding byte by byte, so
 * what Go escapes must come escaped.
 */
function toGoJson(document: unknown): string {
  return JSON.stringify(document).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KubernetesError(undefined, undefined, 'an answer that is not JSON', { cause });
  }
}

function parse<T>(schema: z.ZodType<T>, document: unknown): T {
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  throw new KubernetesError(undefined, undefined, 'an answer of an unknown shape', { cause: result.error });
}

/** The `reason` of a Status object; its message may repeat what was sent. */
function reasonOf(text: string): string | undefined {
  try {
    return statusSchema.safeParse(JSON.parse(text)).data?.reason;
  } catch {
    return undefined;
  }
}
