const MAX_SHOWN = 200;
/** Control characters, and those that reorder or break a line where it is shown. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const URL_CREDENTIALS = /:\/\/[^/\s@]*@/g;

/** Text from outside, made fit for a log line or a terminal: shortened, escaped, without credentials of a URL. */
export function shownText(text: string): string {
  const short = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return short
    .replace(URL_CREDENTIALS, '://***@')
    .replace(UNPRINTABLE, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}
