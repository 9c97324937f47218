import type { FailureReason, PreheatState, Source } from '../domain/preheat-state.js';

/** One image of `GET /images`. Times are ISO 8601. */
export interface ImageStatus {
  readonly image: string;
  readonly platform: string;
  readonly digest?: string;
  readonly state: PreheatState;
  readonly source?: Source;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** The runtime's image is not the one that the cluster's record names. */
  readonly drift?: boolean;
  /** When it entered this state. */
  readonly since: string;
  readonly reason?: FailureReason;
  readonly message?: string;
  readonly retryAt?: string;
}

/** What may be known of an image beside its state. */
export type StatusDetails = Partial<Omit<ImageStatus, 'image' | 'platform' | 'state' | 'since'>>;
