/** No document that is read here is nested by a tenth of this. */
export const MAX_JSON_DEPTH = 100;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/**
 * `JSON.parse` for texts that others wrote: 16 MiB of nothing but opening brackets would take it 700 MiB and a second.
 * @throws SyntaxError when it is no JSON, or is nested more than 100 deep
 */
export function parseShallowJson(text: string): unknown {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (CLOSING.has(code)) depth -= 1;
    else if (OPENING.has(code) && ++depth > MAX_JSON_DEPTH)
      throw new SyntaxError(`JSON is nested more than ${MAX_JSON_DEPTH} deep`);
  }
  return JSON.parse(text);
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
