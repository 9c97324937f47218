import type {
  ChunkInFlight,
  ChunkRequest,
  Holding,
  Neighbour,
  SwarmView,
  WantedChunks,
} from './swarm-view.js';

/** Downloads from peers at a time, one per peer. */
export const MAX_REQUESTS = 6;
/** From the only peer there is: while one chunk is hashed and written, the link has the next one to carry. */
export const LONE_REQUESTS = 2;
/** A blob this small is not worth being shared out: whoever wants it asks the source. Bytes. */
const SMALL_BYTES = 64 * 1024;
/** A node that has fetched all it owns helps, after this long, those that are too slow for what they own. Milliseconds. */
const HELP_AFTER_MS = 1000;
/** A node outside the swarm turns to the source only after this long without a new chunk among its neighbours. */
const OUTSIDER_AFTER_MS = 2000;
/** A chunk that its owner has left at the source for this long may be fetched by another. */
const OVERDUE_MS = 2000;
/** One that was sent, and is still nowhere to be seen after this long, is lost: whoever got it is gone. */
const LOST_MS = 10_000;
/** In the endgame, a chunk is asked of a second peer after this long, and after twice the usual time. */
const DUPLICATE_AFTER_MS = 500;
const DUPLICATE_AFTER_USUAL = 2;
/** The endgame begins when nothing is left but what is in flight; more copies than this of one chunk never are. */
const MAX_COPIES = 2;
/** Peers whose speeds differ by less than this part count as equally fast now and then. */
const JITTER = 0.5;

interface Candidate {
  readonly blob: WantedChunks;
  readonly index: number;
  /** Holders, and a random fraction that decides among equals. */
  readonly rank: number;
  readonly peers: readonly Neighbour[];
  readonly isOwned: boolean;
}

/**
 * What to ask of whom now: rarest chunk first, at random among equals, one request per peer (two where there is only
 * one), never of a peer that lacks the chunk or is busy for us. While a source is the only one that has a chunk, only its owner asks for it, and as long as
 * there are such chunks nobody asks a source for anything else: each chunk should leave it once. A chunk that is in
 * flight is asked for again only in the endgame, when nothing else is left to ask for.
 *
 * Pure: the same view, clock and random numbers give the same requests.
 */
export function planRequests(
  view: SwarmView,
  nowMs: number,
  random: () => number = Math.random,
): ChunkRequest[] {
  const slots = MAX_REQUESTS - view.inFlight.length;
  const places = placesOf(view);
  const free = view.neighbours.filter(
    ({ id, isReachable, mayBeAsked }) => isReachable && mayBeAsked && places.has(id),
  );
  if (slots <= 0 || free.length === 0) return [];
  const candidates = view.wanted.flatMap((blob, position) => {
    // Among equally rare ones those of lower layers: the runtime unpacks them while the rest arrives.
    const rankWithin = (): number => (position + random()) / view.wanted.length;
    return candidatesOf(blob, view, free, nowMs, rankWithin);
  });
  candidates.sort((left, right) => left.rank - right.rank);
  const requests: ChunkRequest[] = [];
  for (const { blob, index, peers, isOwned } of candidates) {
    if (requests.length === slots) break;
    const peer = pick(
      peers.filter(({ id }) => places.has(id)),
      random,
    );
    if (!peer) continue;
    places.take(peer.id);
    requests.push({ digest: blob.digest, index, peer: peer.id, isOwned });
  }
  return requests.length === 0 && isEndgame(view) ? duplicates(view, free, nowMs).slice(0, slots) : requests;
}

/** How many more requests each neighbour may get. */
function placesOf(view: SwarmView): { has: (id: string) => boolean; take: (id: string) => void } {
  const lone = loneHolderOf(view);
  const load = new Map<string, number>();
  const take = (id: string): void => void load.set(id, (load.get(id) ?? 0) + 1);
  for (const { peer } of view.inFlight) take(peer);
  return { has: (id) => (load.get(id) ?? 0) < (id === lone ? LONE_REQUESTS : 1), take };
}

/** The only neighbour that has anything, and shares it with nobody else as far as it says. */
function loneHolderOf({ self, wanted, neighbours }: SwarmView): string | undefined {
  const holders = neighbours.flatMap(({ id, isReachable, holdings }) => {
    const found = wanted.flatMap(({ digest }) => holdings.get(digest) ?? []);
    return isReachable && found.length > 0 ? [{ id, found }] : [];
  });
  const [first] = holders;
  const isOurs = first?.found.every(({ swarm }) => swarm?.every((member) => member === self) ?? true);
  return holders.length === 1 && isOurs === true ? first?.id : undefined;
}

/** Nothing is left to ask for but what is in flight. */
function isEndgame({ wanted, inFlight }: SwarmView): boolean {
  return wanted.every((blob) => {
    const isOpen = openIn(blob, inFlight);
    return !hasAny(blob.mine.length, isOpen);
  });
}

/** A neighbour that has something of one blob. */
interface Holder {
  readonly neighbour: Neighbour;
  readonly holding: Holding;
  /** Its uplink is scarce. */
  readonly isScarce: boolean;
}

function candidatesOf(
  blob: WantedChunks,
  view: SwarmView,
  free: readonly Neighbour[],
  nowMs: number,
  random: () => number,
): Candidate[] {
  const { mine } = blob;
  if (mine.isFull) return [];
  const holders = holdersOf(blob, view.neighbours);
  const ordinary = tallyOf(mine.length, holders, ({ isScarce }) => !isScarce);
  const fast = tallyOf(mine.length, holders, ({ isScarce, neighbour }) => !isScarce && !neighbour.isSlow);
  const scarce = tallyOf(mine.length, holders, ({ isScarce }) => isScarce);
  const isOpen = openIn(blob, view.inFlight);
  const isFresh = (index: number): boolean => ordinary[index] === 0 && (scarce[index] ?? 0) > 0;
  // As long as there is something that only the source has, it has better things to do than to send what others have.
  const isReserved =
    holders.some(({ isScarce, holding }) => isScarce && holding.isOrigin) ||
    hasAny(mine.length, (index) => !mine.has(index) && isFresh(index));
  const patience = patienceOf(view, nowMs);
  const askable = holders.filter(({ neighbour }) => free.includes(neighbour));

  const candidates: Candidate[] = [];
  for (let index = 0; index < mine.length; index += 1) {
    const count = (ordinary[index] ?? 0) + (scarce[index] ?? 0);
    if (count === 0 || !isOpen(index)) continue;
    const able = askable.filter(
      ({ holding, neighbour }) => holding.chunks.has(index) && !(neighbour.isSlow && (fast[index] ?? 0) > 0),
    );
    if (able.length === 0) continue;
    const { from, isOwned } = isFresh(index)
      ? firstHop(able, index, patience)
      : { from: secondHop(able, isReserved), isOwned: false };
    if (from.length === 0) continue;
    const peers = from.map(({ neighbour }) => neighbour);
    candidates.push({ blob, index, rank: count + random(), peers, isOwned });
  }
  return candidates;
}

/** Those whom a chunk that only sources have may be asked of: its owner asks, or who helps a slow one. */
function firstHop(
  able: readonly Holder[],
  index: number,
  patience: Patience,
): { from: readonly Holder[]; isOwned: boolean } {
  const owned = able.filter(({ holding }) => isOwner(holding, patience.self, index));
  if (owned.length > 0) return { from: owned, isOwned: true };
  return { from: able.filter(({ holding }) => mayHelp(holding, index, patience)), isOwned: false };
}

/** Ordinary peers before sources, and sources only when they have nothing better to do. */
function secondHop(able: readonly Holder[], isReserved: boolean): readonly Holder[] {
  const ordinary = able.filter(({ isScarce }) => !isScarce);
  return ordinary.length > 0 || isReserved ? ordinary : able;
}

/**
 * Who has something of the blob, and can be reached. The uplink of those who have it all, or read it from the registry,
 * is scarce while they are few; once many have it, they are peers as any.
 */
function holdersOf({ digest, size }: WantedChunks, neighbours: readonly Neighbour[]): Holder[] {
  const found = neighbours.flatMap((neighbour) => {
    const holding = neighbour.isReachable ? neighbour.holdings.get(digest) : undefined;
    return holding ? [{ neighbour, holding }] : [];
  });
  const sources = found.filter(({ holding }) => holding.isSource).length;
  const areScarce = size > SMALL_BYTES && sources <= Math.max(1, neighbours.length / 4);
  return found.map((one) => ({ ...one, isScarce: areScarce && one.holding.isSource }));
}

/** By chunk, how many of those that `counts` have it. */
function tallyOf(
  length: number,
  holders: readonly Holder[],
  counts: (holder: Holder) => boolean,
): Uint16Array {
  const tally = new Uint16Array(length);
  for (const holder of holders) if (counts(holder)) holder.holding.chunks.tally(tally);
  return tally;
}

function openIn({ digest, mine, isReserved }: WantedChunks, inFlight: readonly ChunkInFlight[]) {
  const flying = new Set(inFlight.filter((one) => one.digest === digest).map(({ index }) => index));
  return (index: number): boolean => !mine.has(index) && !flying.has(index) && !isReserved(index);
}

function isOwner({ swarm }: Holding, self: string, index: number): boolean {
  return swarm === undefined || swarm.length === 0 || swarm[index % swarm.length] === self;
}

/** How long this node has waited, for what. */
interface Patience {
  readonly self: string;
  readonly nowMs: number;
  readonly idleMs: number;
  readonly sinceNewsMs: number;
}

function patienceOf({ self, idleSinceMs, newsMs }: SwarmView, nowMs: number): Patience {
  const idleMs = idleSinceMs === undefined ? 0 : nowMs - idleSinceMs;
  return { self, nowMs, idleMs, sinceNewsMs: nowMs - newsMs };
}

/** An owner that is slow, or gone, must not hold up the others for ever. */
function mayHelp(holding: Holding, index: number, { self, nowMs, idleMs, sinceNewsMs }: Patience): boolean {
  const isMember = holding.swarm?.includes(self) === true;
  if (isMember ? idleMs < HELP_AFTER_MS : sinceNewsMs < OUTSIDER_AFTER_MS) return false;
  return nowMs - holding.seenAtMs(index) >= (holding.sent?.has(index) === true ? LOST_MS : OVERDUE_MS);
}

/** Second requests for chunks that take long, of peers that are free, whoever they are: the oldest first. */
function duplicates(view: SwarmView, free: readonly Neighbour[], nowMs: number): ChunkRequest[] {
  const patienceMs = Math.max(DUPLICATE_AFTER_MS, DUPLICATE_AFTER_USUAL * view.usualMs);
  const late = view.inFlight
    .filter(
      (one) =>
        nowMs - one.startedMs >= patienceMs &&
        copiesOf(one, view.inFlight) < MAX_COPIES &&
        view.wanted.some(
          ({ digest, mine, isReserved }) =>
            digest === one.digest && !mine.has(one.index) && !isReserved(one.index),
        ),
    )
    .toSorted((left, right) => left.startedMs - right.startedMs);
  const busy = new Set<string>();
  const requests: ChunkRequest[] = [];
  for (const { digest, index } of late) {
    const able = free.filter(
      ({ id, holdings }) =>
        !busy.has(id) &&
        holdings.get(digest)?.chunks.has(index) === true &&
        !view.inFlight.some((one) => one.peer === id && one.digest === digest && one.index === index),
    );
    const peer = able.find(({ isSlow }) => !isSlow) ?? able[0];
    if (!peer) continue;
    busy.add(peer.id);
    requests.push({ digest, index, peer: peer.id, isOwned: false });
  }
  return requests;
}

function copiesOf({ digest, index }: ChunkRequest, inFlight: readonly ChunkInFlight[]): number {
  return inFlight.filter((one) => one.digest === digest && one.index === index).length;
}

function hasAny(length: number, test: (index: number) => boolean): boolean {
  for (let index = 0; index < length; index += 1) if (test(index)) return true;
  return false;
}

/**
 * The one that was fastest lately, since that is who has the least to do for others; one that was not tried yet before
 * all of them.
 */
function pick(from: readonly Neighbour[], random: () => number): Neighbour | undefined {
  let best: Neighbour | undefined;
  let bestScore = -Infinity;
  for (const neighbour of from) {
    const score = (neighbour.rate ?? Infinity) * (1 + JITTER * random());
    if (best && (score < bestScore || (score === bestScore && random() < 0.5))) continue;
    best = neighbour;
    bestScore = score;
  }
  return best;
}
