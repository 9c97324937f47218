import { readPromql } from './promql.js';

describe('readPromql', () => {
  it.each([
    ['a', ['a']],
    ['sum by (x, y) (rate(a[5m])) / on (z) group_left (w) count(b) > 0.5 * 1e3', ['a', 'b']],
    ['a:b:c offset 1h unless on () a{x="1"}[2h:1m] or b_total', ['a', 'a:b:c', 'b_total']],
    ['label_replace(a, "dst", "$1", "src", "(.+)") >= bool 3', ['a']],
    ['quantile(0.5, a{job="b",node=~"$node"}) or vector(0)', ['a']],
    ['absent(up{job="a"} == 1)', ['up']],
  ])('finds the metrics of %s', (expression, metrics) => {
    const found = readPromql(expression).selectors.map(({ metric }) => metric);
    expect(found.toSorted()).toEqual(metrics);
  });

  it('finds matchers and grouping labels', () => {
    expect(readPromql('sum by (x, y) (a{b="c",d!~"e|f"}) and on (z) b')).toEqual({
      selectors: [
        {
          metric: 'a',
          matchers: [
            { label: 'b', operator: '=', value: 'c' },
            { label: 'd', operator: '!~', value: 'e|f' },
          ],
        },
        { metric: 'b', matchers: [] },
      ],
      groupingLabels: ['x', 'y', 'z'],
    });
  });
});
