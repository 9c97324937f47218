import fc from 'fast-check';

/** Stands for what is nested so deep that it can be read, but not walked through by calls. */
const DEEP = 'nested deep';
const NESTED = `${'[{"a":'.repeat(10_000)}1${'}]'.repeat(10_000)}`;

/** What breaks readers of JSON that did not expect it. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    -1,
    0,
    1e308,
    2 ** 53,
    Number.MAX_SAFE_INTEGER,
    0.5,
    '',
    '\0',
    '__proto__',
    [],
    {},
    true,
    'sha256:',
    `sha256:${'f'.repeat(64)}`,
    '🙂'.repeat(300),
  ),
  fc.jsonValue(),
);

/** JSON texts one to three changes away from that of `sample`: a value, somewhere in it, is another, gone, nested deep, or new. */
export function mutatedJson(sample: unknown): fc.Arbitrary<string> {
  const change = fc.record({
    at: fc.nat(),
    value: odd,
    how: fc.constantFrom('replace', 'remove', 'deepen', 'add'),
  });
  const changed = fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => {
    const document = { root: structuredClone(sample) };
    for (const { at, value, how } of changes) {
      const places = placesIn(document);
      const place = places[at % places.length];
      // The one before has taken everything away.
      if (!place) break;
      const { parent, key } = place;
      if (how === 'replace') parent[key] = value;
      else if (how === 'remove') Reflect.deleteProperty(parent, key);
      else parent[how === 'add' ? 'unknown' : key] = DEEP;
    }
    return (JSON.stringify(document.root) || '').replaceAll(JSON.stringify(DEEP), NESTED);
  });
  return fc.oneof({ weight: 8, arbitrary: changed }, fc.string(), fc.json());
}

/** Bytes a few changes away from `sample`: some are others, a piece is missing, or is there twice. */
export function mutatedBytes(sample: Buffer): fc.Arbitrary<Buffer> {
  const place = fc.nat(Math.max(0, sample.length - 1));
  return fc
    .record({
      changes: fc.array(fc.tuple(place, fc.nat(255)), { maxLength: 8 }),
      cut: fc.option(fc.tuple(place, place)),
      twice: fc.option(fc.tuple(place, place)),
    })
    .map(({ changes, cut, twice }) => {
      const bytes = Buffer.from(sample);
      for (const [at, byte] of changes) bytes[at] = byte;
      const piece = ([one, other]: readonly [number, number]): [number, number] =>
        one < other ? [one, other] : [other, one];
      if (cut) {
        const [start, end] = piece(cut);
        return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
      }
      if (!twice) return bytes;
      const [start, end] = piece(twice);
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(start)]);
    });
}

interface Place {
  readonly parent: Record<string, unknown>;
  readonly key: string;
}

function placesIn(value: unknown): Place[] {
  if (value === null || typeof value !== 'object') return [];
  const parent = value as Record<string, unknown>;
  return Object.entries(parent).flatMap(([key, child]) => [{ parent, key }, ...placesIn(child)]);
}
