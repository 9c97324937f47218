import { Injectable } from '@nestjs/common';
import PQueue from 'p-queue';

import type { HostPort } from '../../config/app-config.js';
import type { Digest } from '../../domain/digest.js';
import type { AvailabilityAnswer, AvailabilityQuestion, BlobAvailability } from '../availability.js';
import type { PeerIdentity } from '../peer-identity.js';
import {
  AVAILABILITY_PATH,
  availabilityAnswerSchema,
  encodeKnown,
  MAX_ANSWER_BYTES,
  MAX_DIGESTS,
} from '../wire/availability-wire.js';
import { PeerCaller } from './peer-caller.js';
import { PeerClient } from './peer-client.js';
import { discard } from './peer-transport.js';
import { readJson } from './read-json.js';

const TIMEOUT_MS = 10_000;
const HEAD_CONCURRENCY = 2;

/** Asks peers what they have of which blobs. */
@Injectable()
export class AvailabilityClient {
  constructor(
    private readonly caller: PeerCaller,
    private readonly client: PeerClient,
  ) {}

  /**
   * What the agent at `address` has of `digests`. An agent without the call (404) is asked for each blob by plain
   * `HEAD`. Throws PeerError; the signal's reason when it aborts.
   */
  async ask(
    address: HostPort,
    question: AvailabilityQuestion,
    signal: AbortSignal,
  ): Promise<AvailabilityAnswer> {
    const { digests } = question;
    const [first = [], ...more] = batches(digests);
    const answer = await this.askBatch(address, { ...question, digests: first }, signal);
    const blobs = new Map(answer.blobs);
    for (const batch of more) {
      const next = await this.askBatch(address, { ...question, digests: batch }, signal);
      for (const [digest, blob] of next.blobs) blobs.set(digest, blob);
    }
    return { ...answer, blobs };
  }

  private async askBatch(
    address: HostPort,
    { digests, image, known }: AvailabilityQuestion,
    signal: AbortSignal,
  ): Promise<AvailabilityAnswer> {
    const answer = await this.caller.call(
      address,
      {
        lane: 'control',
        method: 'POST',
        path: AVAILABILITY_PATH,
        body: JSON.stringify({
          digests,
          ...(image === undefined ? {} : { image }),
          ...(known ? { known: encodeKnown(known, digests) } : {}),
        }),
        headersTimeoutMs: TIMEOUT_MS,
        bodyTimeoutMs: TIMEOUT_MS,
      },
      [200, 404],
      signal,
    );
    if (answer.status === 404) {
      await discard(answer.body);
      return this.askByHead(address, answer.identity, digests, signal);
    }
    const said = await readJson(answer.body, availabilityAnswerSchema, MAX_ANSWER_BYTES);
    const asked = new Set(digests);
    return { ...said, blobs: new Map([...said.blobs].filter(([digest]) => asked.has(digest))) };
  }

  private async askByHead(
    address: HostPort,
    { node, instance, platform, protocol }: PeerIdentity,
    digests: readonly Digest[],
    signal: AbortSignal,
  ): Promise<AvailabilityAnswer> {
    const blobs = new Map<Digest, BlobAvailability>();
    const queue = new PQueue({ concurrency: HEAD_CONCURRENCY });
    await queue.addAll(
      digests.map((digest) => async () => {
        const size = await this.client.headBlob(address, digest, signal);
        if (size !== undefined) blobs.set(digest, { size, complete: true });
      }),
    );
    return { node, instance, platform, protocol, blobs, participants: [] };
  }
}

function batches(digests: readonly Digest[]): Digest[][] {
  const count = Math.ceil(digests.length / MAX_DIGESTS);
  return Array.from({ length: count }, (_, index) =>
    digests.slice(index * MAX_DIGESTS, (index + 1) * MAX_DIGESTS),
  );
}
