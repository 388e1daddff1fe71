/** Who is in a bucket, and as what. */
import { useCallback, useEffect, useState } from 'preact/hooks';
import * as api from '../../link/api';
import { bucketId } from '../../store/buckets';
import { Failure, Skeleton } from '../../ui/controls';
import { Listing } from './listing';

interface Member {
  readonly username: string;
  readonly email: string;
  readonly role: string;
}

export function Members() {
  const id = bucketId.value;
  const [members, setMembers] = useState<readonly Member[] | null>(null);
  const [problem, setProblem] = useState('');
  const load = useCallback(async () => {
    setProblem('');
    try {
      const answer = await api.get(`api/bucket/${id}/users_authorized`);
      const list = Array.isArray(answer) ? answer : [];
      setMembers(
        list.map((m) => {
          const d = (m ?? {}) as Record<string, unknown>;
          return { username: String(d.username ?? ''), email: String(d.email ?? ''), role: String(d.role ?? 'user') };
        }),
      );
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The members could not be read.');
    }
  }, [id]);
  useEffect(() => void load(), [load]);
  if (problem !== '') return <Failure message={problem} onRetry={load} />;
  if (!members) return <Skeleton rows={3} label="Loading the members" />;
  return (
    <Listing columns={[{ head: 'User name' }, { head: 'E-mail' }, { head: 'Role' }]}>
      <tbody>
        {members.map((m) => (
          <tr key={m.email || m.username}>
            <td>
              <b>{m.username}</b>
            </td>
            <td class="sub">{m.email}</td>
            <td>{m.role}</td>
          </tr>
        ))}
      </tbody>
    </Listing>
  );
}
