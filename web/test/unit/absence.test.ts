import { describe, expect, it } from 'vitest';
import { away, back, badge } from '../../src/format/absence';
import { type Absence, readServer } from '../../src/link/protocol';

const absence = (over: Partial<Absence> = {}): Absence => ({
  reason: 'link_lost',
  sure: false,
  since: 1_000,
  until: null,
  filled: false,
  ...over,
});
const reasons = ['stopped', 'daemon_dead', 'link_lost', 'host_gone'] as const;

describe('absences', () => {
  it('has a text of its own for each reason, before and after', () => {
    for (const text of [
      (a: Absence) => badge('lost', a),
      (a: Absence) => away(a),
      (a: Absence) => back({ ...a, until: 61_000 }, 61_000),
    ]) {
      const texts = reasons.map((reason) => text(absence({ reason })));
      expect(new Set(texts).size).toBe(4);
      expect(texts).not.toContain(null);
    }
  });

  it('says how long it was, and whether the gap is filled', () => {
    const was = absence({ until: 61_000, filled: true });
    expect(back(was, 61_000)).toBe('Back after 1m: the link was lost. What was measured meanwhile is filled in.');
    expect(back({ ...was, filled: false }, 61_000)).toBe('Back after 1m: the link was lost.');
    expect(back(was, 661_001)).toBeNull();
    expect(back(absence(), 61_000)).toBeNull();
    expect(back(null, 0)).toBeNull();
  });

  it('says what is sure, and does without a reason', () => {
    expect(away(absence({ reason: 'daemon_dead', sure: true }))).not.toBe(away(absence({ reason: 'daemon_dead' })));
    expect(away(null)).toBe('Server seems offline.');
    expect(badge('online', absence({ until: 2 }))).toBe('online');
    expect([badge('lost', null), badge('offline', null)]).toEqual(['link lost', 'offline']);
  });

  it('reads what it knows and nothing else', () => {
    const read = (value: unknown) => readServer({ id: 'a', absence: value })?.absence;
    expect(read({ reason: 'host_gone', sure: 1, since: 'x', until: 7 })).toEqual(
      absence({ reason: 'host_gone', since: 0, until: 7 }),
    );
    for (const wrong of [null, undefined, 'stopped', {}, { reason: 'bored' }]) expect(read(wrong)).toBeNull();
  });
});
