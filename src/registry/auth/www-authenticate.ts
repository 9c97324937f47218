/** One way in that a server offers. */
export interface AuthChallenge {
  /** Lower case: `basic`, `bearer`, … */
  readonly scheme: string;
  /** Names in lower case, values unquoted. */
  readonly params: ReadonlyMap<string, string>;
}

const MAX_HEADER_LENGTH = 8192;
const SEPARATORS = /[\s,]*/y;
const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const EQUALS = /\s*=\s*/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/sy;
/** `Negotiate YII=` carries one bare value (token68) instead of parameters. */
const BARE_VALUE = /\s+[A-Za-z0-9\-._~+/]+=*(?=\s*(?:,|$))/y;

/**
 * Reads `WWW-Authenticate` (RFC 9110, 11.6.1), with any number of challenges in one header. What follows the first
 * thing that does not parse is left out: a registry's odd extra must not hide the challenge before it.
 */
export function parseChallenges(header: string): AuthChallenge[] {
  const text = header.slice(0, MAX_HEADER_LENGTH);
  const challenges: { scheme: string; params: Map<string, string> }[] = [];
  let position = 0;
  /** Moves past `pattern` if it matches here. */
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = position;
    const match = pattern.exec(text);
    if (match) position = pattern.lastIndex;
    return match ?? undefined;
  };

  for (;;) {
    take(SEPARATORS);
    const name = take(TOKEN)?.[0].toLowerCase();
    if (name === undefined) return challenges;
    // A parameter is a token with "="; a token without is the scheme of the next challenge.
    if (!take(EQUALS)) {
      challenges.push({ scheme: name, params: new Map() });
      take(BARE_VALUE);
      continue;
    }
    const value = take(QUOTED)?.[1]?.replace(/\\(.)/gs, '$1') ?? take(TOKEN)?.[0];
    const challenge = challenges.at(-1);
    if (value === undefined || !challenge) return challenges;
    // The first one counts: a repeated parameter must not replace it.
    if (!challenge.params.has(name)) challenge.params.set(name, value);
  }
}
