/** Members and invitations of a bucket as the hub tells them, and what each role may do. */

export interface Member {
  readonly username: string;
  readonly email: string;
  readonly role: string;
}

export interface Invited {
  readonly email: string;
  /** What the one who was asked in opens to make an account. */
  readonly link: string;
}

/** The roles that can be given, the least first. */
export const ROLES = [
  { role: 'user', says: 'Looks at everything' },
  { role: 'developer', says: 'Also runs actions, sees the secret key' },
  { role: 'admin', says: 'Also invites, deletes servers, reads the audit trail' },
] as const;

type Dict = Record<string, unknown>;
const dict = (v: unknown): Dict => (typeof v === 'object' && v !== null ? (v as Dict) : {});
const text = (v: unknown): string => (typeof v === 'string' ? v : '');
const list = (v: unknown): readonly Dict[] => (Array.isArray(v) ? v.map(dict) : []);

export const readMembers = (answer: unknown): readonly Member[] =>
  list(answer).map((d) => ({ username: text(d.username), email: text(d.email), role: text(d.role) || 'user' }));

/** Of a bucket; empty for those who may not see them. */
export const readInvited = (answer: unknown): readonly Invited[] =>
  list(dict(answer).invitations).map((d) => ({ email: text(d.email), link: text(d.link) }));
