/** Keys of the dashboard and the questions people ask first. */
import './help.css';
import { useState } from 'preact/hooks';
import { Search } from '../ui/controls';
import { Dialog } from '../ui/dialog';
import { helpOpen, KEYS } from '../ui/keys';

const TOPICS: readonly { readonly title: string; readonly text: string }[] = [
  {
    title: 'What is a process?',
    text: 'One row of the process list. An app in cluster mode with four instances is four processes. Stopped and errored entries count until they are deleted.',
  },
  {
    title: 'What is a server?',
    text: 'One linked daemon. Two home folders on one host, linked under two names, are two servers. There is no limit on servers.',
  },
  {
    title: 'My server is not here',
    text: 'On the server run `pilothouse link` without arguments: it reads the saved keys again and reconnects. `pilothouse link info` says whether it is connected, and ~/.pm2/agent.log names each failed step.',
  },
  {
    title: 'How do I leave a process out?',
    text: '`pilothouse unmonitor <name|id|all>` hides it from this dashboard and keeps it running; `pilothouse monitor` brings it back. A red dot marks it in `pilothouse ls`.',
  },
  {
    title: '"Reverse connection not established"',
    text: 'Data arrives, but commands cannot reach the host. Open port 43554 outbound, look into ~/.pm2/agent.log, and run `pilothouse link`.',
  },
  {
    title: 'Two servers with one name',
    text: 'Give each its own name: `pilothouse link <secret> <public> <name>`. `ps -ax | grep PM2` shows which daemons run on a host.',
  },
  {
    title: 'A server I deleted',
    text: 'Link it again with the same keys and name. One whose agent still runs is hidden until it is linked again.',
  },
];

/** Text with `code` marks. */
function Marked({ text }: { readonly text: string }) {
  return <>{text.split('`').map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part))}</>;
}

export function Help() {
  const [filter, setFilter] = useState('');
  const needle = filter.trim().toLowerCase();
  const topics = TOPICS.filter((t) => `${t.title} ${t.text}`.toLowerCase().includes(needle));
  return (
    <Dialog
      title="Help"
      kind="wide"
      onClose={() => {
        helpOpen.value = false;
      }}
    >
      <Search value={filter} label="Search the help" onInput={setFilter} />
      {needle === '' ? (
        <section>
          <h3>Keys</h3>
          <dl class="keys">
            {KEYS.map(([keys, what]) => (
              <div key={keys}>
                <dt>{keys.split(' ').map((k) => (k === 'then' ? ' then ' : <kbd key={k}>{k}</kbd>))}</dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        </section>
      ) : null}
      <section>
        <h3>Questions</h3>
        <div class="topics">
          {topics.map((t) => (
            <div key={t.title}>
              <h4>{t.title}</h4>
              <p class="sub">
                <Marked text={t.text} />
              </p>
            </div>
          ))}
          {topics.length === 0 ? <p class="muted">Nothing matches.</p> : null}
        </div>
      </section>
    </Dialog>
  );
}
