/** The check-list of a server: the same that `pilothouse link doctor` goes through on the host, as far as the hub knows it. */
import { type Check, checksOf } from '../../format/checks';
import type { Server } from '../../link/protocol';
import { bucket } from '../../store/buckets';
import { now } from '../../store/live';
import { CopyButton } from '../../ui/controls';
import { Dialog } from '../../ui/dialog';
import { Icon, type IconName } from '../../ui/icons';

const MARK: Readonly<Record<Check['state'], readonly [icon: IconName, word: string]>> = {
  good: ['ok', 'in order'],
  warn: ['warn', 'to look at'],
  bad: ['alert', 'wrong'],
  idle: ['clock', 'not known'],
};

interface ChecksProps {
  readonly server: Server;
  readonly twins: readonly Server[];
  readonly onClose: () => void;
}

export function Checks({ server, twins, onClose }: ChecksProps) {
  const checks = checksOf(server, { twins, limit: bucket.value?.limit ?? null, now: now.value });
  return (
    <Dialog title={`Link of ${server.name}`} onClose={onClose}>
      <ul class="checks">
        {checks.map(({ area, state, text, mend, run }) => (
          <li key={area} data-state={state} data-check={area}>
            <span title={MARK[state][1]}>
              <Icon name={MARK[state][0]} />
              <span class="sr">{MARK[state][1]}</span>
            </span>
            <b>{area}</b>
            <div>
              <p>{text}</p>
              {mend ? <p>{mend}</p> : null}
              {run ? (
                <div class="cmd">
                  <code>{run}</code>
                  <CopyButton text={() => run} />
                </div>
              ) : null}
            </div>
          </li>
        ))}
      </ul>
      {server.agent === 'pm2' ? null : (
        <p class="hint">
          Names, ports, proxy and TLS only show on the server itself: <code>pilothouse link doctor</code> goes through
          them there.
        </p>
      )}
    </Dialog>
  );
}
