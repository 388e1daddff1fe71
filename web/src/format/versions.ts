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
