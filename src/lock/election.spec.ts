import { rankOf } from './election.js';

const nodes = Array.from({ length: 20 }, (_, index) => `node-${index}`);
const order = (image: string, failed = 0) =>
  nodes.toSorted((left, right) => rankOf(image, left, nodes, failed) - rankOf(image, right, nodes, failed));

describe('rank', () => {
  it('gives every node a place of its own, whether or not it is among the known', () => {
    expect(new Set(nodes.map((node) => rankOf('app', node, nodes)))).toEqual(new Set(nodes.keys()));
    const others = nodes.filter((node) => node !== 'node-3');
    expect(rankOf('app', 'node-3', others)).toBe(rankOf('app', 'node-3', nodes));
    expect(rankOf('app', 'node-3', [])).toBe(0);
  });

  it('gives different images different first nodes', () => {
    const first = new Set(Array.from({ length: 40 }, (_, index) => order(`app-${index}`)[0]));
    expect(first.size).toBeGreaterThan(10);
  });

  it('lets the next in rank try after each failed attempt', () => {
    const usual = order('app');
    for (const failed of [1, 2, 19, 20, 21])
      expect(order('app', failed)[0]).toBe(usual[failed % nodes.length]);
  });
});
