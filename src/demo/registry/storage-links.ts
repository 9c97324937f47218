import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

import type { Clock } from '../../common/clock.js';
import { type Digest, hexOf, isDigest } from '../../domain/digest.js';

/** Signed URLs of blobs that expire, as object stores hand them out. */
export class StorageLinks {
  private readonly key = randomBytes(32);

  constructor(private readonly clock: Clock) {}

  /** Path and query. */
  create(digest: Digest, expiryMs: number): string {
    const path = `/storage/${hexOf(digest)}`;
    const expires = String(Math.floor(this.clock.monotonicMs() + expiryMs));
    return `${path}?${new URLSearchParams({ expires, signature: this.sign(path, expires) }).toString()}`;
  }

  /** The blob of a link that is ours and has not expired. */
  open({ pathname, searchParams }: URL): Digest | undefined {
    const digest = `sha256:${pathname.replace('/storage/', '')}`;
    const expires = searchParams.get('expires') ?? '';
    const signature = Buffer.from(searchParams.get('signature') ?? '');
    const expected = Buffer.from(this.sign(pathname, expires));
    const genuine = signature.length === expected.length && timingSafeEqual(signature, expected);
    return genuine && Number(expires) > this.clock.monotonicMs() && isDigest(digest) ? digest : undefined;
  }

  private sign(path: string, expires: string): string {
    return createHmac('sha256', this.key).update(`${path}\n${expires}`).digest('base64url');
  }
}
