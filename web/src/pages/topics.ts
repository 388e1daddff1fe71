/** The questions that people ask first, with what to do: the help searches them, and the feedback form shows those that match. */

export interface Topic {
  readonly id: string;
  readonly title: string;
  /** `code` is set between backquotes. */
  readonly text: string;
}

export const TOPICS: readonly Topic[] = [
  {
    id: 'process',
    title: 'What is a process?',
    text: 'One row of `pilothouse ls` is one process. Stopped and errored entries count until they are deleted; what a reload replaces does not. Modules count, but for pm2-logrotate and pm2-auto-pull.',
  },
  {
    id: 'server',
    title: 'What is a server?',
    text: 'One linked daemon. Two home folders (`PM2_HOME`) on one host, linked under two names, are two servers. Plans set no limit on servers; the owner of a bucket can set one in its settings.',
  },
  {
    id: 'plan',
    title: 'How do plans count?',
    text: 'A plan `pro_4` watches 4 processes, wherever they run: 4 servers with 1 each, 1 server with 4, or 2 and 1 and 1. A fifth is listed as over the plan and not watched; the oldest stay. What is deleted or unmonitored frees its place at once, and so does another plan in Settings, General.',
  },
  {
    id: 'cluster',
    title: 'How do instances in cluster mode count?',
    text: 'Each instance is a process: `pilothouse start app.js -i 4` counts 4, `-i max` one for each core. The app stays one line, marked ×4.',
  },
  {
    id: 'monitor',
    title: 'How do I choose what is monitored?',
    text: '`pilothouse unmonitor <name|id|all>` hides processes from this dashboard and keeps them running; nothing of them leaves the host. `pilothouse monitor <name|id|all>` brings them back. A red dot marks them in `pilothouse ls`. Unmonitor is in the menu of each app here, too; bringing back from here needs `monitor` among `allow` in the `policy.toml` of the host.',
  },
  {
    id: 'connected',
    title: 'My server is not here, or not connected',
    text: 'On the server run `pilothouse link` without arguments: it reads the saved keys again and reconnects. `pilothouse link doctor` names the step that fails and how to mend it, and `~/.pm2/agent.log` has each attempt. Then refresh this page.',
  },
  {
    id: 'network',
    title: 'Firewalls, proxies, ports and addresses to allow',
    text: 'The agent only opens connections outwards, to the one address of this hub: the Connect panel shows it, with the addresses behind it. A proxy is taken from `PM2_PROXY` (http, https, socks4, socks5, with user and password) or `HTTPS_PROXY`, minus `NO_PROXY`, when you run `pilothouse link`. A hub can have ports of their own for data and commands, as PM2 had 80 and 43554 (`--push-listen`, `--reverse-listen`): agents follow by themselves, `PM2_PUSH_URL` and `PM2_REVERSE_URL` name them by hand, and `none` keeps to one port.',
  },
  {
    id: 'versions',
    title: 'Which versions work?',
    text: 'Any server that runs pm2 5, 6 or 7 links as it is. PM2 after 3.0 needs Node 4.0, after 2.0 Node 0.12. A badge on the server says when something is too old: `npm install -g pm2 && pm2 update`.',
  },
  {
    id: 'delete',
    title: 'How do I delete a server?',
    text: 'Settings, Servers lists every server ever linked. Admins and owners delete there; the processes are freed at once, and the history goes if you ask for it. A server whose agent still runs is hidden until it is linked again.',
  },
  {
    id: 'full',
    title: 'I cannot link a new server',
    text: 'The bucket may have a limit on servers, which those that are gone still fill: delete one in Settings, Servers, and the new one links by itself within a minute, or at once with `pilothouse link`. Those that wait are named there.',
  },
  {
    id: 'duplicates',
    title: 'Two daemons under one name',
    text: 'Two servers of one name are kept apart and marked. See which daemons run with `ps -ax | grep PM2`, end the one too many, or link each under its own name.',
  },
  {
    id: 'away',
    title: 'Why is my server offline?',
    text: 'Stopped: PM2 was ended or unlinked there. PM2 dead: it ended without a word and nothing started it again; run `pilothouse resurrect`. Link lost: nothing comes through, look at the network. Host gone: nothing has come for long, so the machine may be off. The last two are guesses while it is dark; when it is back, the line below its name says what it was, and what was measured meanwhile is filled in.',
  },
  {
    id: 'reverse',
    title: '"Reverse connection not established"',
    text: 'Data arrives, but no command reaches the host: no restart, reload, scale, reset, logs or action works. Let WebSockets to this hub through (or port 43554 outbound, where ports are separate), look into `~/.pm2/agent.log`, and run `pilothouse link`. It heals by itself.',
  },
  {
    id: 'flicker',
    title: 'Servers flicker, or show each other’s apps',
    text: 'Hosts with the same name, linked without one, used to be taken for one. Here they stay apart. Give each its own name: `pilothouse link <secret> <public> server1` on one and `… server2` on the other.',
  },
  {
    id: 'keys',
    title: 'Which key comes first?',
    text: 'Secret, public, name: `pilothouse link <secret> <public> [name]`. The other order works as well. Keys may also come from `PM2_SECRET_KEY` and `PM2_PUBLIC_KEY`, the name from `PM2_MACHINE_NAME`.',
  },
  {
    id: 'privacy',
    title: 'What leaves my host?',
    text: 'See for yourself: `pilothouse link inspect` prints every message. Environment variables are never sent, values under names that sound like secrets are hidden, and `redact.toml` in the home hides more: regular expressions under `text`, `names` and `metrics`. `policy.toml` there says which commands the hub may give.',
  },
  {
    id: 'policy',
    title: 'Why can I not pull, install or delete from here?',
    text: 'What brings other code onto a host or takes something away has to be allowed on that host first: `allow = ["restart", "reload", "logs", "custom", "pull", "install"]` in `policy.toml` in its home. It holds at once. Agents of PM2 itself take restart, reload, reset, scale and the actions of apps, and nothing else. Pull needs an app whose repository is known: `PM2_ENABLE_GIT_PARSING=true` when the process manager starts.',
  },
  {
    id: 'people',
    title: 'How do others get in, and who did what?',
    text: 'Settings, Members: an admin invites by e-mail address. Who has an account joins at once, others get a link that you pass on. The owner gives roles: a user looks, a developer also acts, an admin also invites and deletes servers. Settings, Audit tells admins who did what, when, and how it ended, and exports it.',
  },
];

const words = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/** Too common to tell topics apart. */
const COMMON = new Set(
  'a an and are as at be but by can do does for from has have how i if in is it its my no not of on or that the there this to was what when which with you'.split(
    ' ',
  ),
);

/** Topics in which every word of the question begins a word; all of them when nothing is asked. */
export function search(question: string): readonly Topic[] {
  const asked = words(question);
  return TOPICS.filter((topic) => {
    const said = words(`${topic.title} ${topic.text}`);
    return asked.every((word) => said.some((w) => w.startsWith(word)));
  });
}

/** Topics that a report is likely about, the likeliest first. Rare words weigh more than common ones. */
export function matching(report: string, most = 4): readonly Topic[] {
  const asked = new Set(words(report).filter((word) => word.length > 2 && !COMMON.has(word)));
  const texts = TOPICS.map((topic) => ({
    topic,
    title: new Set(words(topic.title)),
    text: new Set(words(topic.text)),
  }));
  const has = (set: ReadonlySet<string>, word: string) =>
    set.has(word) || set.has(`${word}s`) || set.has(word.replace(/s$/, ''));
  const scored = texts.map(({ topic, title, text }) => {
    let score = 0;
    for (const word of asked) {
      const known = texts.filter((t) => has(t.title, word) || has(t.text, word)).length;
      if (known === 0) continue;
      const weight = Math.log(1 + TOPICS.length / known);
      if (has(title, word)) score += 2 * weight;
      else if (has(text, word)) score += weight;
    }
    return { topic, score };
  });
  return scored
    .filter(({ score }) => score > 1)
    .sort((a, b) => b.score - a.score)
    .slice(0, most)
    .map(({ topic }) => topic);
}
