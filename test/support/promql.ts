/** What a PromQL expression reads: the series it selects, and the labels it groups or matches vectors by. */
export interface PromqlReading {
  readonly selectors: readonly Selector[];
  readonly groupingLabels: readonly string[];
}

export interface Selector {
  readonly metric: string;
  readonly matchers: readonly Matcher[];
}

export interface Matcher {
  readonly label: string;
  readonly operator: string;
  readonly value: string;
}

const SELECTOR = /([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}/g;
const MATCHER = /(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g;
const STRING = /"[^"]*"/g;
const RANGE = /\[[^\]]*\]/g;
const OFFSET = /\boffset\s+\w+/g;
const GROUPING = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g;
/** An identifier that is neither called nor part of a number. */
const NAME = /(?<![\w.])[a-zA-Z_:][\w:]*(?![\w:]*\s*\()/g;
const OPERATORS = new Set(['and', 'or', 'unless', 'bool', 'inf', 'nan']);

/** Enough of PromQL for our own rules and dashboard: no braces or quotes in label values, no selector without a name. */
export function readPromql(expression: string): PromqlReading {
  const selectors = [...expression.matchAll(SELECTOR)].map(([, metric = '', matchers = '']): Selector => ({
    metric,
    matchers: [...matchers.matchAll(MATCHER)].map(([, label = '', operator = '', value = '']) => ({
      label,
      operator,
      value,
    })),
  }));
  const rest = [SELECTOR, STRING, RANGE, OFFSET].reduce((text, part) => text.replace(part, ' '), expression);
  const groupingLabels = [...rest.matchAll(GROUPING)].flatMap(
    ([, labels = '']) => labels.match(/\w+/g) ?? [],
  );
  const names = (rest.replace(GROUPING, ' ').match(NAME) ?? []).filter(
    (name) => !OPERATORS.has(name.toLowerCase()),
  );
  return {
    selectors: [...selectors, ...names.map((metric) => ({ metric, matchers: [] }))],
    groupingLabels,
  };
}
