import { endless, exporting, MIB, type NamedMalice, spoiled, tarFile, tarHeader } from './malice-kit.js';

const END = Buffer.alloc(1024);
/** What a peer can do wrong when it is asked for an image of its runtime. */
export const EXPORT_MALICES: Readonly<Record<string, NamedMalice>> = {
  'an export that climbs out of its directory': exporting(
    ({ response }) => void response.end(tarHeader('../../../../tmp/climbed', 0)),
  ),
  'an export of links to /etc': exporting(
    ({ response }) => void response.end(tarHeader('blobs', 0, '2', '/etc')),
  ),
  'an export of another image': exporting(
    ({ response }) =>
      void response.end(Buffer.concat([tarFile(pathOf('a'.repeat(64)), Buffer.alloc(1024, 'x')), END])),
    true,
  ),
  'an export with other bytes under the right names': exporting(({ response, image }) => {
    for (const [digest, bytes] of image.blobs) response.write(tarFile(pathOf(digest), spoiled(bytes)));
    response.end(END);
  }, true),
  'an export of each file twice': exporting(({ response, image }) => {
    for (const [digest, bytes] of image.blobs)
      for (const copy of [bytes, bytes]) response.write(tarFile(pathOf(digest), copy));
    response.end(END);
  }),
  'an export of each file twice, once with other bytes': exporting(({ response, image }) => {
    for (const [digest, bytes] of image.blobs)
      for (const copy of [bytes, spoiled(bytes)]) response.write(tarFile(pathOf(digest), copy));
    response.end(END);
  }, true),
  'an export without an end': exporting((asked) => endless(asked, tarHeader('a', 0))),
  'an export of a million entries': exporting((asked) => {
    const thousand = Buffer.concat(Array.from({ length: 1_000 }, (_, at) => tarHeader(`entry-${at}`, 0)));
    let left = 1_000;
    const more = (): void => {
      while (left > 0 && !asked.response.destroyed) {
        left -= 1;
        if (!asked.response.write(thousand)) {
          asked.response.once('drain', more);
          return;
        }
      }
      asked.response.end(END);
    };
    more();
  }),
  'an export with a huge PAX header': exporting((asked) => {
    asked.response.write(tarHeader('pax', 8 * 1024 * MIB - 1, 'x'));
    endless(asked, Buffer.alloc(64 * 1024, '9 path=a\n'));
  }),
  'an export whose file has no end': exporting((asked) => {
    const [last = ''] = [...asked.image.blobs.keys()].slice(-1);
    asked.response.write(tarHeader(pathOf(last), 8 * 1024 * MIB - 1));
    endless(asked);
  }),
};

/** Where an OCI layout keeps the blob of a digest. */
function pathOf(digest: string): string {
  return `blobs/sha256/${digest.replace('sha256:', '')}`;
}
