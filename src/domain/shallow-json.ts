/** No document that is read here is nested by a tenth of this. */
export const MAX_JSON_DEPTH = 100;
/** Lists, objects and what is in them; a manifest of 1,024 layers with a dozen annotations each has a quarter of this. */
export const MAX_JSON_VALUES = 100_000;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/** Why a text is not taken for JSON. Unlike that of `JSON.parse`, the message repeats nothing of it, and can be shown. */
export class JsonRefusedError extends SyntaxError {}

/**
 * `JSON.parse` for texts that others wrote. What it makes of a text can be a hundred times as large, and whoever checks it
 * then walks all of that: so it is measured first, in a pass that keeps nothing.
 * @param maxValues 100,000 when left out
 * @throws JsonRefusedError when it is no JSON, is nested more than 100 deep, or has more than `maxValues` values
 */
export function parseShallowJson(text: string, maxValues = MAX_JSON_VALUES): unknown {
  let depth = 0;
  // Each value but the first follows a comma, or is the first one in something that was opened.
  let values = 1;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
    } else if (CLOSING.has(code)) {
      depth -= 1;
    } else if (code === COMMA || OPENING.has(code)) {
      if (code !== COMMA && ++depth > MAX_JSON_DEPTH)
        throw new JsonRefusedError(`it is nested more than ${MAX_JSON_DEPTH} deep`);
      if (++values > maxValues) throw new JsonRefusedError(`it has more than ${maxValues} values`);
    }
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new JsonRefusedError('it is not JSON');
  }
}

/** Where the string that begins at `start` ends: at its closing quote, or at the text's end. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}
