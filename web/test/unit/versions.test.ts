import { expect, it } from 'vitest';
import { versionNote } from '../../src/format/versions';

it('knows which versions fit together', () => {
  const cases: [pm2: string, node: string, kind: string | undefined][] = [
    ['7.0.4', 'v20.1.0', undefined],
    ['7.0.4', '', undefined],
    ['7.0.4', 'v0.12.18', 'bad'],
    ['6.0.1', 'v18.20.0', 'warn'],
    ['3.0.0', 'v4.0.0', 'warn'],
    ['3.0.0', '0.12.0', 'bad'],
    ['2.4.0', '0.12.0', 'warn'],
    ['2.4.0', '0.10.48', 'bad'],
    ['1.1.3', '0.10.48', 'warn'],
    ['', 'v20.0.0', undefined],
    ['nonsense', 'nonsense', undefined],
  ];
  for (const [pm2, node, kind] of cases) expect(versionNote(pm2, node)?.kind, `pm2 ${pm2}, node ${node}`).toBe(kind);
});
