import { expect, test } from 'vitest';
import { readPage, words } from '../../src/pages/settings/audit-trail';
import { readInvited, readMembers } from '../../src/pages/settings/team';

test('a page of the trail is read, whatever is wrong with it', () => {
  const at = '2026-01-02T03:04:05.678Z';
  const entry = { at, who: 'a@b', what: 'restart', target: 'web/api', outcome: 'ok', detail: { took_ms: 1 } };
  expect(readPage({ entries: [entry], next: '1-2' })).toEqual({
    entries: [{ at: Date.parse(at), who: 'a@b', what: 'restart', target: 'web/api', outcome: 'ok' }],
    next: '1-2',
  });
  const nothing = { at: 0, who: '', what: '', target: '', outcome: '' };
  expect(readPage({ entries: [null, { at: 'soon', who: 7 }], next: null })).toEqual({
    entries: [nothing, nothing],
    next: '',
  });
  for (const wrong of [null, 'x', [], { entries: {} }]) expect(readPage(wrong)).toEqual({ entries: [], next: '' });
});

test('verbs of the hub are words, names that an app gave stay', () => {
  expect([words('change_role'), words('restart'), words('km:heap_dump'), words('My_Action')]).toEqual([
    'change role',
    'restart',
    'km:heap_dump',
    'My_Action',
  ]);
});

test('members and invitations are read, whatever is wrong with them', () => {
  expect(readMembers([{ username: 'ada', email: 'a@b', role: 'owner' }, null])).toEqual([
    { username: 'ada', email: 'a@b', role: 'owner' },
    { username: '', email: '', role: 'user' },
  ]);
  expect(readMembers({})).toEqual([]);
  expect(readInvited({ invitations: [{ email: 'a@b', link: 'http://x' }] })).toEqual([
    { email: 'a@b', link: 'http://x' },
  ]);
  expect(readInvited(null)).toEqual([]);
});
