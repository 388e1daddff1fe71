/** What the versions of a server mean for who runs it. Pure. */

export interface VersionNote {
  readonly kind: 'bad' | 'warn';
  readonly text: string;
  readonly hint: string;
}

/** The newest PM2 line that the dashboard was made for. */
const CURRENT_PM2 = 7;

function parts(version: string): readonly [major: number, minor: number] | null {
  const m = /^v?(\d+)(?:\.(\d+))?/.exec(version.trim());
  return m ? [Number(m[1]), Number(m[2] ?? 0)] : null;
}

/** A version without the letter that Node puts before its own. */
export const bare = (version: string): string => version.replace(/^v/, '');

/** Whether a version is below another; what is no version is not. */
export function older(version: string, than: string): boolean {
  const read = (v: string) => /^v?(\d+)\.(\d+)\.(\d+)/.exec(v.trim())?.slice(1).map(Number);
  const [a, b] = [read(version), read(than)];
  if (!a || !b) return false;
  const at = a.findIndex((n, i) => n !== b[i]);
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0);
}

/** A server below the floors of its PM2 gets a red note, an old but working one an amber note, others none. */
export function versionNote(pm2: string, node: string): VersionNote | null {
  const p = parts(pm2);
  if (!p) return null;
  const n = parts(node);
  if (n) {
    const [major, minor] = n;
    if (p[0] >= 3 && major < 4) {
      return { kind: 'bad', text: `node ${node} too old`, hint: `PM2 ${pm2} needs Node.js 4 or newer` };
    }
    if (p[0] >= 2 && major === 0 && minor < 12) {
      return { kind: 'bad', text: `node ${node} too old`, hint: `PM2 ${pm2} needs Node.js 0.12 or newer` };
    }
  }
  if (p[0] < CURRENT_PM2) {
    return { kind: 'warn', text: `pm2 ${pm2} is old`, hint: 'To upgrade: npm install -g pm2 && pm2 update' };
  }
  return null;
}
