import { execFile } from 'node:child_process';

import { z } from 'zod';

import type { RegistryCredential } from './registry-credential.js';

const TIMEOUT_MS = 10_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

const answer = z.object({ Username: z.string(), Secret: z.string() });

/**
 * Asks the credential helper `name` for what is filed under `serverUrl`, a registry's host.
 * Undefined when it has none; rejects with an Error that names the helper, and repeats nothing it wrote.
 */
export type CredentialHelper = (
  name: string,
  serverUrl: string,
  signal: AbortSignal,
) => Promise<RegistryCredential | undefined>;
export const CredentialHelper = Symbol('CredentialHelper');

/**
 * Runs `docker-credential-NAME get` from `PATH`, Docker's protocol for credentials kept elsewhere; 10 s at most.
 * @param env this process's own when left out
 */
export async function runCredentialHelper(
  name: string,
  serverUrl: string,
  signal: AbortSignal,
  env?: NodeJS.ProcessEnv,
): Promise<RegistryCredential | undefined> {
  const output = await run(`docker-credential-${name}`, serverUrl, signal, env);
  if (output === undefined) return undefined;
  let document: unknown;
  try {
    document = JSON.parse(output);
  } catch {
    throw new Error(`docker-credential-${name} did not answer in JSON`);
  }
  const parsed = answer.safeParse(document);
  if (!parsed.success) throw new Error(`docker-credential-${name} answered something else than a credential`);
  const { Username: username, Secret: secret } = parsed.data;
  // The protocol's mark for a secret that is a refresh token.
  if (username === '<token>') return { kind: 'identity-token', token: secret };
  return { kind: 'password', username, password: secret };
}

function run(
  program: string,
  input: string,
  signal: AbortSignal,
  env: NodeJS.ProcessEnv | undefined,
): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const options = {
      signal,
      env,
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      maxBuffer: MAX_OUTPUT_BYTES,
      encoding: 'utf8',
    } as const;
    const child = execFile(program, ['get'], options, (error, stdout) => {
      if (!error) resolve(stdout);
      else if (signal.aborted) reject(signal.reason as Error);
      // How the protocol says "none": exit code 1 and this sentence.
      else if (/credentials not found/i.test(stdout)) resolve(undefined);
      else if (error.killed) reject(new Error(`${program} did not answer within ${TIMEOUT_MS} ms`));
      else reject(new Error(`${program} failed (${error.code ?? 'unknown error'})`));
    });
    // A helper that exits without reading closes the pipe; its exit code tells why.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}
