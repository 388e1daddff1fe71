/** What may be typed as the name of a module. The hub and the host check it again, and know more. */

const PACKAGE = /^(@[a-z0-9_][\w.~-]*\/)?[a-z0-9_][\w.~-]*(@[\w^~][\w.^~+-]*)?$/i;
const REPOSITORY = /^(github:)?[a-z0-9_][\w.~-]*\/[a-z0-9_][\w.~-]*(#[^-][\w./-]*)?$/i;
const ADDRESS = /^(https|git\+https):\/\/[a-z0-9][^\s@]*$|^git\+ssh:\/\/[\w-]+@[a-z0-9]\S*$/i;

/** What is wrong with it; '' when nothing is. */
export function moduleProblem(text: string): string {
  const name = text.trim();
  if (name === '') return 'Which module?';
  if (/\s/.test(name)) return 'One module at a time, and no spaces.';
  if (name.startsWith('-')) return 'Options cannot be given from here.';
  if (/^(\.|\/|~|file:)/.test(name) || (!name.includes('://') && /\.(tgz|tar\.gz)$/.test(name))) {
    return 'Files of the host cannot be installed from here.';
  }
  if (/^[\w+]+:\/\/[^/]*:[^/]*@/.test(name))
    return "Passwords do not belong here: the host's own git or npm must know them.";
  if (PACKAGE.test(name) || REPOSITORY.test(name) || ADDRESS.test(name)) return '';
  return 'This is no name of a package and no address.';
}
