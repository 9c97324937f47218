import { status } from '@grpc/grpc-js';

import { PreheatFailure } from '../../domain/errors.js';
import { containerdFailure, statusOf } from './containerd-error.js';

const ADDRESS = '/run/containerd/containerd.sock';
const failed = (code: status, details: string): Error =>
  Object.assign(new Error(`${code}: ${details}`), { code, details });

describe('containerdFailure', () => {
  it.each([
    [
      status.UNAVAILABLE,
      'No connection established. Last error: connect ENOENT /run/containerd/containerd.sock. Resolution note: ',
      'runtime_unreachable',
      `containerd at ${ADDRESS} cannot be asked: connect ENOENT`,
    ],
    [
      status.UNAVAILABLE,
      'Connection dropped',
      'runtime_unreachable',
      `containerd at ${ADDRESS} cannot be asked: Connection dropped`,
    ],
    [
      status.UNIMPLEMENTED,
      'unknown service runtime.v1.ImageService',
      'runtime_unreachable',
      `containerd at ${ADDRESS} does not offer CRI v1: its CRI plugin is off, or it is older than 1.6`,
    ],
    [
      status.UNKNOWN,
      'server is not initialized yet',
      'runtime_unreachable',
      `containerd at ${ADDRESS} is not ready yet`,
    ],
    [
      status.UNAVAILABLE,
      'failed to pull and unpack image "127.0.0.1:5051/preheat/n@sha256:0": reset',
      'runtime_error',
      'containerd: failed to pull and unpack image "the image@sha256:0": reset',
    ],
    [
      status.NOT_FOUND,
      'failed to pull: no match for platform in manifest: not found',
      'platform_not_supported',
      'containerd: failed to pull: no match for platform in manifest: not found',
    ],
    [
      status.UNKNOWN,
      'failed to copy: write /var/lib/containerd/x: no space left on device',
      'insufficient_disk',
      'containerd: failed to copy: write /var/lib/containerd/x: no space left on device',
    ],
  ])('knows what status %s, "%.40s", means', (code, details, reason, message) => {
    const failure = containerdFailure(failed(code, details), ADDRESS, '127.0.0.1:5051/preheat/n@sha256:0');
    expect(failure).toMatchObject({ reason, message });
  });

  it('leaves its own failures as they are, and takes anything else for an error of the runtime', () => {
    const own = new PreheatFailure('corrupt', 'x');
    expect(containerdFailure(own, ADDRESS)).toBe(own);
    expect(containerdFailure(new TypeError('odd'), ADDRESS)).toMatchObject({
      reason: 'runtime_error',
      message: 'containerd: odd',
    });
    expect(statusOf(new TypeError('odd'))).toBeUndefined();
  });
});
