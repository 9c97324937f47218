import { invalidTar } from './tar-header.js';

/**
 * An entry's name in one spelling: components parted by `/`, neither `.` nor an end slash; '' is the archive's root.
 * @throws InvalidInputError `INVALID_TAR` when the name is absolute or climbs (`..`): no image tool writes such names.
 */
export function tarPath(name: string): string {
  if (name.startsWith('/') || name.includes('\0')) throw invalidTar(`an entry is named ${quote(name)}`);
  const components = name.split('/').filter((component) => component !== '' && component !== '.');
  if (components.includes('..')) throw invalidTar(`an entry is named ${quote(name)}`);
  return components.join('/');
}

/**
 * Where a link leads, inside the archive. Docker up to 24 writes `<id>/layer.tar → ../<other id>/layer.tar` for
 * a layer that an image has twice, so `..` is fine as long as it stays inside.
 * @param type a symlink's target counts from its own folder, a hard link's from the archive's root
 * @throws InvalidInputError `INVALID_TAR` when it leads out of the archive
 */
export function tarLinkTarget(path: string, type: 'symlink' | 'hardlink', target: string): string {
  const leadsOut = (): Error => invalidTar(`the link ${quote(path)} leads to ${quote(target)}`);
  if (target === '' || target.startsWith('/') || target.includes('\0')) throw leadsOut();
  const components = type === 'symlink' ? path.split('/').slice(0, -1) : [];
  for (const component of target.split('/')) {
    if (component === '' || component === '.') continue;
    if (component !== '..') components.push(component);
    else if (components.pop() === undefined) throw leadsOut();
  }
  return components.join('/');
}

function quote(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 120)}…` : name);
}
