import { candidateNames } from './candidate-names.js';

describe('candidateNames', () => {
  it.each([
    ['a complete name', 'peers.example.', ['peers.example']],
    ['a name with dots', 'peers.ns.svc', ['peers.ns.svc', 'peers.ns.svc.a', 'peers.ns.svc.b']],
    ['a name without dots', 'peers', ['peers.a', 'peers.b', 'peers']],
  ])('says what to ask for: %s', (_kind, name, expected) => {
    expect(candidateNames(name, { search: ['a', 'b'] })).toEqual(expected);
  });
});
