import { status } from '@grpc/grpc-js';
import { z } from 'zod';

import { type Digest, isDigest } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import type { ContainerdClient } from './containerd-client.js';
import { statusOf } from './containerd-error.js';

const SERVICE = 'containerd.services.images.v1.Images';
/** Somebody else may create or delete the same name between two calls; more often than this it is no accident. */
const MAX_ATTEMPTS = 5;

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value), 'no SHA-256 digest');
const labels = z.record(z.string(), z.string());
const imageRecord = z.object({
  name: z.string(),
  labels,
  target: z.object({
    mediaType: z.string(),
    digest,
    /** 64 bits, as text. */
    size: z.string(),
    annotations: labels,
  }),
});

/** A name, and the index or manifest that it means. */
export type ImageRecord = z.infer<typeof imageRecord>;

/** containerd's names of images, in one namespace. Each holds what it leads to against containerd's garbage collection. */
export class ImageRecords {
  constructor(private readonly client: ContainerdClient) {}

  /**
   * @param filters in containerd's syntax; what matches any of them is listed, without any everything. Names with a
   * digest that is no SHA-256 are left out: nothing here could mean them.
   */
  async list(filters: readonly string[], signal: AbortSignal): Promise<readonly ImageRecord[]> {
    const call = { service: SERVICE, method: 'List', request: { filters } };
    const { images } = await this.client.ask(call, z.object({ images: z.array(z.unknown()) }), signal);
    return images.flatMap((image) => imageRecord.safeParse(image).data ?? []);
  }

  async find(name: string, signal: AbortSignal): Promise<ImageRecord | undefined> {
    const call = { service: SERVICE, method: 'Get', request: { name } };
    try {
      return (await this.client.ask(call, z.object({ image: imageRecord }), signal)).image;
    } catch (error) {
      if (statusOf(error) === status.NOT_FOUND) return undefined;
      throw error;
    }
  }

  /**
   * Makes `name` mean `target`; labels that it has beside these stay.
   * @throws PreheatFailure `runtime_error` when others change the name all the time
   */
  async set(wanted: ImageRecord, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      if (await this.send('Create', { image: wanted }, status.ALREADY_EXISTS, signal)) return;
      const known = await this.find(wanted.name, signal);
      if (known && (await this.replace({ ...wanted, labels: { ...known.labels, ...wanted.labels } }, signal)))
        return;
    }
    throw new PreheatFailure('runtime_error', `containerd: others keep changing ${wanted.name}`);
  }

  /**
   * Gives a name these labels and no others. What it means stays, also where that was changed meanwhile.
   * @returns false when the name is gone
   */
  relabel(image: ImageRecord, labels: ImageRecord['labels'], signal: AbortSignal): Promise<boolean> {
    return this.send(
      'Update',
      { image: { ...image, labels }, updateMask: { paths: ['labels'] } },
      status.NOT_FOUND,
      signal,
    );
  }

  /** An absent one is fine. */
  async delete(name: string, signal: AbortSignal): Promise<void> {
    try {
      await this.client.ask({ service: SERVICE, method: 'Delete', request: { name } }, z.unknown(), signal);
    } catch (error) {
      if (statusOf(error) !== status.NOT_FOUND) throw error;
    }
  }

  /**
   * Puts `image` in the place of what has its name.
   * @returns false when nothing has it
   */
  private replace(image: ImageRecord, signal: AbortSignal): Promise<boolean> {
    // Always all of it: an update of a part without a target crashes containerd 1.7 and 2.1.
    return this.send('Update', { image }, status.NOT_FOUND, signal);
  }

  /** @returns false when containerd refused with the status `unless` */
  private async send(
    method: 'Create' | 'Update',
    request: object,
    unless: status,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      await this.client.ask({ service: SERVICE, method, request }, z.unknown(), signal);
      return true;
    } catch (error) {
      if (statusOf(error) === unless) return false;
      throw error;
    }
  }
}
