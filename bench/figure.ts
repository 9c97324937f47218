/** One number that was measured, beside those it is held to, if it is held to any. Smaller is better. */
export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit?: 'MiB' | 'ms';
  readonly target?: number;
  readonly gate?: number;
  /** What the figure was made of. */
  readonly detail: string;
}

/** A Markdown table, so that it can be pasted as it is. */
export function renderTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.what,
    format(figure.value, figure),
    figure.target === undefined ? '' : format(figure.target, figure),
    figure.gate === undefined ? '' : format(figure.gate, figure),
    verdictOf(figure),
    figure.detail,
  ]);
  const table = [['what', 'figure', 'target', 'gate', '', 'made of'], ...rows];
  const widths = (table[0] ?? []).map((_, column) =>
    Math.max(...table.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = table;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}

function format(value: number, { unit }: Figure): string {
  return unit === undefined ? value.toFixed(3) : `${value.toFixed(0)} ${unit}`;
}

/** To the three decimals that are shown: counting is exact, measuring is not. */
function verdictOf({ value, target, gate }: Figure): string {
  if (target === undefined || gate === undefined) return '';
  const shown = Number(value.toFixed(3));
  if (shown <= target) return 'good';
  return shown <= gate ? 'within gate' : 'MISSED';
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.ceil(sorted.length / 2) - 1];
  if (upper === undefined || lower === undefined) throw new RangeError('the median of nothing');
  return (lower + upper) / 2;
}
