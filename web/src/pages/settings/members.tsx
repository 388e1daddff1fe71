/** Who is in a bucket, and as what; who was asked in and has not come yet. */
import { useState } from 'preact/hooks';
import * as api from '../../link/api';
import { user } from '../../session';
import { bucketId, may } from '../../store/buckets';
import { Button, CopyButton, Failure, IconButton, Note, Skeleton } from '../../ui/controls';
import { Listing, useTold } from './listing';
import { RemoveMember } from './remove-member';
import { type Invited, type Member, ROLES, readInvited, readMembers } from './team';

interface RoleOfProps {
  readonly member: Member;
  readonly onChange: (role: string) => void;
}

function RoleOf({ member, onChange }: RoleOfProps) {
  if (!may('owner') || member.role === 'owner') return <>{member.role}</>;
  return (
    <select
      class="input compact"
      aria-label={`Role of ${member.username}`}
      value={member.role}
      onChange={(e) => onChange(e.currentTarget.value)}
    >
      {ROLES.map(({ role, says }) => (
        <option key={role} value={role} title={says}>
          {role}
        </option>
      ))}
    </select>
  );
}

function InviteForm({ onInvite }: { readonly onInvite: (email: string) => Promise<boolean> }) {
  const [email, setEmail] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async (e: Event) => {
    e.preventDefault();
    if (email.trim() === '') return;
    setBusy(true);
    if (await onInvite(email.trim())) setEmail('');
    setBusy(false);
  };
  return (
    <form class="boxtools" onSubmit={submit} noValidate>
      <label class="sr" for="invite-email">
        E-mail address
      </label>
      <input
        id="invite-email"
        class="input"
        type="email"
        placeholder="E-mail address"
        autocomplete="off"
        value={email}
        maxLength={254}
        onInput={(e) => setEmail(e.currentTarget.value)}
      />
      <Button type="submit" kind="primary" icon="plus" busy={busy} disabled={email.trim() === ''}>
        Invite
      </Button>
      <span class="muted">Who has an account joins at once; others get a link from you.</span>
    </form>
  );
}

interface PendingProps {
  readonly invited: readonly Invited[];
  readonly onWithdraw: (email: string) => void;
}

function Pending({ invited, onWithdraw }: PendingProps) {
  if (invited.length === 0) return null;
  return (
    <>
      <h2 class="between">Pending invitations</h2>
      <Listing
        name="invitations"
        columns={[{ head: 'E-mail' }, { head: 'Link to pass on' }, { head: <span class="sr">Withdraw</span> }]}
      >
        <tbody>
          {invited.map(({ email, link }) => (
            <tr key={email}>
              <td>
                <b>{email}</b>
              </td>
              <td>
                <CopyButton text={() => link} label="Copy the link" />
              </td>
              <td class="num">
                <IconButton
                  icon="trash"
                  small
                  label={`Withdraw the invitation of ${email}`}
                  onClick={() => onWithdraw(email)}
                />
              </td>
            </tr>
          ))}
        </tbody>
      </Listing>
    </>
  );
}

export function Members() {
  const path = `api/bucket/${bucketId.value}`;
  const members = useTold(`${path}/users_authorized`, readMembers, () => '');
  const invited = useTold(path, readInvited, () => '');
  const [problem, setProblem] = useState('');
  const [doomed, setDoomed] = useState<Member | null>(null);
  if (members.problem !== '' && !members.value) return <Failure message={members.problem} onRetry={members.reload} />;
  if (!members.value) return <Skeleton rows={3} label="Loading the members" />;

  const attempt = async (what: () => Promise<unknown>): Promise<boolean> => {
    setProblem('');
    let went = true;
    try {
      await what();
    } catch (error) {
      went = false;
      setProblem(error instanceof Error ? error.message : 'That could not be done.');
    }
    await Promise.all([members.reload(), invited.reload()]);
    return went;
  };
  const mayRemove = (m: Member) => m.role !== 'owner' && (may('owner') || m.email === user.value.email);
  return (
    <section aria-label="Members">
      {problem === '' ? null : <Note kind="bad">{problem}</Note>}
      {may('admin') ? (
        <InviteForm onInvite={(email) => attempt(() => api.post(`${path}/add_user`, { email }))} />
      ) : null}
      <Listing
        name="members"
        columns={[
          { head: 'User name' },
          { head: 'E-mail', kind: 'roomy' },
          { head: 'Role' },
          { head: <span class="sr">Remove</span> },
        ]}
      >
        <tbody>
          {members.value.map((m) => (
            <tr key={m.email}>
              <td>
                <b>{m.username}</b>
                <div class="muted narrow">{m.email}</div>
              </td>
              <td class="roomy sub">{m.email}</td>
              <td>
                <RoleOf
                  member={m}
                  onChange={(role) => void attempt(() => api.post(`${path}/promote_user`, { email: m.email, role }))}
                />
              </td>
              <td class="num">
                {mayRemove(m) ? (
                  <IconButton
                    icon={m.email === user.value.email ? 'signout' : 'trash'}
                    small
                    label={m.email === user.value.email ? 'Leave the bucket' : `Remove ${m.username}`}
                    onClick={() => setDoomed(m)}
                  />
                ) : null}
              </td>
            </tr>
          ))}
        </tbody>
      </Listing>
      <Pending
        invited={invited.value ?? []}
        onWithdraw={(email) =>
          void attempt(() => api.del(`${path}/invitation?email=${encodeURIComponent(email)}`, { email }))
        }
      />
      {doomed ? (
        <RemoveMember member={doomed} onClose={() => setDoomed(null)} onDone={() => void members.reload()} />
      ) : null}
    </section>
  );
}
