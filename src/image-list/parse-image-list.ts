import { parseDurationMs } from '../common/units.js';
import { InvalidInputError, messageOf } from '../domain/errors.js';
import { formatReference, parseImageReference } from '../domain/image-reference.js';
import { formatPlatform, parsePlatform, type Platform } from '../domain/platform.js';
import type { ImageList, ImageListEntry, LineRemark } from './image-list.js';
import { shownText } from './shown-text.js';

/** So that a file of nothing but errors, or of a million names, stays an answer that one can read. */
const MAX_REMARKS = 1_000;
const MAX_IMAGES = 10_000;
const MAX_PRIORITY = 1_000_000;
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const NEWLINE = 0x0a;

interface ParsedLine {
  readonly entry: ImageListEntry;
  readonly unknownKeys: readonly string[];
}

/**
 * Reads a list file: `REF [key=value …] [# comment]` per line, in UTF-8. A line that does not parse affects only
 * itself. Never throws.
 * @param platform of entries that name none: the node's
 */
export function parseImageList(bytes: Uint8Array, platform: Platform): ImageList {
  const entries = new Map<string, ImageListEntry>();
  const invalidLines: LineRemark[] = [];
  const warnings: LineRemark[] = [];
  let invalidLineCount = 0;
  for (const { line, text } of linesOf(bytes)) {
    const warn = (reason: string): void => {
      if (warnings.length < MAX_REMARKS)
        warnings.push({ line, text: shownText(text), reason: shownText(reason) });
    };
    try {
      const parsed = parseLine(text, line, platform);
      if (!parsed) continue;
      for (const key of parsed.unknownKeys)
        warn(`unknown key "${key}" is ignored; platform, priority and timeout are known`);
      const key = `${parsed.entry.image} ${formatPlatform(parsed.entry.platform)}`;
      const first = entries.get(key);
      if (first) {
        if (differs(first, parsed.entry))
          warn(`the same image stands in line ${first.line} with other keys; that line counts`);
      } else if (entries.size >= MAX_IMAGES) {
        throw new InvalidInputError('LIST_FULL', `only the first ${MAX_IMAGES} images of a list count`);
      } else {
        entries.set(key, parsed.entry);
      }
    } catch (error) {
      invalidLineCount += 1;
      if (invalidLines.length < MAX_REMARKS) {
        invalidLines.push({ line, text: shownText(text), reason: shownText(messageOf(error)) });
      }
    }
  }
  const byPriority = [...entries.values()].sort((left, right) => right.priority - left.priority);
  return { entries: byPriority, invalidLines, invalidLineCount, warnings };
}

/** What is not UTF-8 becomes U+FFFD, which no reference may hold, so that such a line is reported as itself. */
function* linesOf(bytes: Uint8Array): Generator<{ line: number; text: string }> {
  // `ignoreBOM: false` takes a byte order mark off, which may only stand at the very beginning.
  const firstDecoder = new TextDecoder('utf-8', { ignoreBOM: false });
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let start = 0;
  for (let line = 1; start < bytes.length; line += 1) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline === -1 ? bytes.length : newline;
    const text = (line === 1 ? firstDecoder : decoder).decode(bytes.subarray(start, end));
    yield { line, text: text.endsWith('\r') ? text.slice(0, -1) : text };
    start = end + 1;
  }
}

function parseLine(text: string, line: number, platform: Platform): ParsedLine | undefined {
  const comment = /(?:^|[ \t])#/.exec(text);
  const [name, ...pairs] = text
    .slice(0, comment?.index)
    .split(/[ \t]+/)
    .filter((word) => word !== '');
  if (name === undefined) return undefined;
  if (name.includes('\uFFFD')) throw new InvalidInputError('INVALID_LINE', 'the line is not UTF-8');
  const reference = parseImageReference(name);
  const known = new Map<string, string>();
  const unknownKeys: string[] = [];
  for (const pair of pairs) {
    const [, key, value] = /^([^=]+)=(.+)$/.exec(pair) ?? [];
    if (key === undefined || value === undefined) {
      throw new InvalidInputError('INVALID_LINE', `"${pair}" is not key=value; a comment begins with " #"`);
    }
    if (known.has(key)) throw new InvalidInputError('INVALID_LINE', `"${key}" is given twice`);
    if (['platform', 'priority', 'timeout'].includes(key)) known.set(key, value);
    else unknownKeys.push(key);
  }
  const platformText = known.get('platform');
  const priorityText = known.get('priority');
  const timeoutText = known.get('timeout');
  return {
    entry: {
      image: formatReference(reference),
      reference,
      platform: platformText === undefined ? platform : parsePlatform(platformText),
      priority: priorityText === undefined ? 0 : parsePriority(priorityText),
      ...(timeoutText === undefined ? {} : { timeoutMs: parseTimeoutMs(timeoutText) }),
      line,
    },
    unknownKeys,
  };
}

function parsePriority(text: string): number {
  const value = /^[+-]?\d{1,7}$/.test(text) ? Number(text) : NaN;
  if (Math.abs(value) <= MAX_PRIORITY) return value;
  throw new InvalidInputError(
    'INVALID_PRIORITY',
    `"${text}" is not a priority: a whole number from -${MAX_PRIORITY} to ${MAX_PRIORITY} is accepted`,
  );
}

function parseTimeoutMs(text: string): number {
  const timeoutMs = parseDurationMs(text);
  if (timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS) return timeoutMs;
  throw new InvalidInputError('INVALID_TIMEOUT', `"${text}" is not a timeout: 1ms to 576h are accepted`);
}

function differs(first: ImageListEntry, second: ImageListEntry): boolean {
  return first.priority !== second.priority || first.timeoutMs !== second.timeoutMs;
}
