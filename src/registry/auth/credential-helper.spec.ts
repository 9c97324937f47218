import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { runCredentialHelper } from './credential-helper.js';

const BASE_PATH = ['/usr/local/bin', '/usr/bin', '/bin'].join(delimiter);

describe('runCredentialHelper', () => {
  const { signal } = new AbortController();
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'helper-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function run(script: string, aborted = signal) {
    await writeFile(join(directory, 'docker-credential-test'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const env = { PATH: `${directory}${delimiter}${BASE_PATH}` };
    return runCredentialHelper('test', 'r.test:5000', aborted, env);
  }

  it('sends the server’s name and reads a password', async () => {
    const script = 'printf \'{"ServerURL":"%s","Username":"%s","Secret":"s"}\' "$(cat)" "$1"';
    expect(await run(script)).toEqual({ kind: 'password', username: 'get', password: 's' });
    const echo = 'printf \'{"Username":"u","Secret":"%s"}\' "$(cat)"';
    expect(await run(echo)).toEqual({ kind: 'password', username: 'u', password: 'r.test:5000' });
  });

  it('reads a refresh token', async () => {
    const script = 'echo \'{"Username":"<token>","Secret":"refresh"}\'';
    expect(await run(script)).toEqual({ kind: 'identity-token', token: 'refresh' });
  });

  it('has nothing when the helper says so', async () => {
    expect(await run('echo "credentials not found in native keychain"; exit 1')).toBeUndefined();
  });

  it.each([
    ['echo "secret stuff"; exit 3', /^docker-credential-test failed \(3\)$/],
    ['echo "secret stuff"', /^docker-credential-test did not answer in JSON$/],
    ['echo "{}"', /^docker-credential-test answered something else than a credential$/],
  ])('repeats nothing of: %s', async (script, message) => {
    await expect(run(script)).rejects.toThrow(message);
  });

  it('names a helper that is not there', async () => {
    const missing = runCredentialHelper('absent', 'r.test', signal, { PATH: directory });
    await expect(missing).rejects.toThrow('docker-credential-absent failed (ENOENT)');
  });

  it('is killed when its signal aborts', async () => {
    const controller = new AbortController();
    const answer = run('exec sleep 30', controller.signal);
    setTimeout(() => controller.abort(new Error('enough')), 100);
    await expect(answer).rejects.toThrow('enough');
  });
});
