/** How a request between agents names its session and proves that it belongs to it. */
export interface PeerAuthorization {
  readonly session: string;
  readonly counter: number;
  readonly mac: string;
}

const HEADER = /^Preheat session=([\w-]{22}), counter=([1-9]\d{0,15}), mac=([\w-]{43})$/;

export function formatAuthorization({ session, counter, mac }: PeerAuthorization): string {
  return `Preheat session=${session}, counter=${counter}, mac=${mac}`;
}

/** What is not exactly in our form is undefined. */
export function parseAuthorization(header: string): PeerAuthorization | undefined {
  const [, session, counterText, mac] = HEADER.exec(header) ?? [];
  const counter = Number(counterText);
  if (session === undefined || mac === undefined || !Number.isSafeInteger(counter)) return undefined;
  return { session, counter, mac };
}

export function isPeerAuthorization(header: string | undefined): header is string {
  return header?.startsWith('Preheat ') ?? false;
}
