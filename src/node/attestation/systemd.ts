import { realpathSync, statSync } from 'node:fs';
import type { SystemdAttributes } from '../../identity/index.ts';

/** Where system units lie, the first that has one wins (systemd.unit(5), "System Unit Search Path"). */
const UNIT_FOLDERS = [
  '/etc/systemd/system.control',
  '/run/systemd/system.control',
  '/run/systemd/transient',
  '/run/systemd/generator.early',
  '/etc/systemd/system',
  '/etc/systemd/system.attached',
  '/run/systemd/system',
  '/run/systemd/system.attached',
  '/run/systemd/generator',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/run/systemd/generator.late',
];

/** The unit with the file that defines it, where one is found below `root`: for `a@b.service` that of `a@.service`. */
export function systemdAttributes(unit: string, root = ''): SystemdAttributes {
  const template = unit.replace(/^([^@]+)@.+(\.[a-z]+)$/, '$1@$2');
  for (const folder of UNIT_FOLDERS) {
    for (const name of new Set([unit, template])) {
      const file = unitFile(`${root}${folder}/${name}`);
      if (file !== undefined) return { unit, fragment_path: root === '' ? file : file.slice(root.length) };
    }
  }
  return { unit };
}

// An alias is a symbolic link to the unit that it stands for; a masked unit is one to /dev/null, which is no file.
function unitFile(path: string): string | undefined {
  try {
    return statSync(path).isFile() ? realpathSync(path) : undefined;
  } catch {
    return undefined;
  }
}
