import { Injectable } from '@nestjs/common';
import PQueue from 'p-queue';

import type { HostPort } from '../../config/app-config.js';
import type { Digest } from '../../domain/digest.js';
import type {
  AskedBlob,
  AvailabilityAnswer,
  AvailabilityQuestion,
  BlobAvailability,
} from '../availability.js';
import type { PeerIdentity } from '../peer-identity.js';
import { availabilityLimits, questionsOf } from '../wire/answer-limits.js';
import {
  AVAILABILITY_PATH,
  availabilityAnswerSchema,
  decodeAvailability,
  encodeKnown,
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
   * What the agent at `address` has of `blobs`, in as many questions as keep its answers small. An agent without the call
   * (404) is asked for each blob by plain `HEAD`. Throws PeerError; the signal's reason when it aborts.
   */
  async ask(
    address: HostPort,
    question: AvailabilityQuestion,
    signal: AbortSignal,
  ): Promise<AvailabilityAnswer> {
    const [first = [], ...more] = questionsOf(question.blobs);
    const answer = await this.askOnce(address, { ...question, blobs: first }, signal);
    const found = new Map(answer.blobs);
    for (const blobs of more) {
      const next = await this.askOnce(address, { ...question, blobs }, signal);
      for (const [digest, blob] of next.blobs) found.set(digest, blob);
    }
    return { ...answer, blobs: found };
  }

  private async askOnce(
    address: HostPort,
    { blobs, image, known }: AvailabilityQuestion,
    signal: AbortSignal,
  ): Promise<AvailabilityAnswer> {
    const digests = blobs.map(({ digest }) => digest);
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
      return this.askByHead(address, answer.identity, blobs, signal);
    }
    const said = await readJson(answer.body, availabilityAnswerSchema, availabilityLimits(blobs));
    return decodeAvailability(said, blobs);
  }

  private async askByHead(
    address: HostPort,
    { node, instance, platform, protocol }: PeerIdentity,
    asked: readonly AskedBlob[],
    signal: AbortSignal,
  ): Promise<AvailabilityAnswer> {
    const blobs = new Map<Digest, BlobAvailability>();
    const queue = new PQueue({ concurrency: HEAD_CONCURRENCY });
    await queue.addAll(
      asked.map(({ digest, size: maxSize }) => async () => {
        const size = await this.client.headBlob(address, digest, signal);
        if (size !== undefined && size <= maxSize) blobs.set(digest, { size, complete: true });
      }),
    );
    return { node, instance, platform, protocol, blobs, participants: [] };
  }
}
