/** The rows of the overview. Each is one line of a treegrid with a fixed height. */

import { health, LEVEL_WORD, level, type Measure } from '../../format/severity';
import { ago, span, spanWords, stamp } from '../../format/time';
import { bytes, count, metric, millis, percent } from '../../format/units';
import { versionNote } from '../../format/versions';
import type { Server } from '../../link/protocol';
import { to } from '../../router';
import { type App, metricsOf, statusOf } from '../../store/apps';
import { bucketId, may } from '../../store/buckets';
import { now } from '../../store/live';
import { Button, IconButton } from '../../ui/controls';
import { Icon } from '../../ui/icons';
import { openMenu } from '../../ui/overlay';
import { command, mayAct, menuOf, obstacle, own, running, stop, type Target } from '../commands';
import { actionsOf, type Row } from './rows';

interface ValueProps {
  readonly text: string;
  readonly measure: Measure;
  readonly value: number | null;
}

/** A number in the colour of its severity, with the severity in words for who cannot see it. */
export function Value({ text, measure, value }: ValueProps) {
  if (value === null) return <span class="live muted">N/A</span>;
  const l = level(measure, value);
  return (
    <span class={`live ${l}`} title={l === 'calm' ? undefined : LEVEL_WORD[l]}>
      {l === 'warn' || l === 'bad' ? <i class="mark" aria-hidden="true" /> : null}
      {text}
      {l === 'calm' ? null : <span class="sr"> ({LEVEL_WORD[l]})</span>}
    </span>
  );
}

interface SparkProps {
  readonly kind: 'cpu' | 'memory' | 'latency' | 'loop';
  readonly of: string;
  readonly value: number | null;
  readonly idle?: boolean;
}

export function Spark({ kind, of, value, idle }: SparkProps) {
  const measure: Measure = kind === 'latency' ? 'http' : kind;
  return (
    <span
      class="spk"
      data-spark={kind}
      data-key={of}
      data-level={idle ? 'idle' : level(measure, value)}
      aria-hidden="true"
    />
  );
}

interface StatusProps {
  readonly status: string;
  readonly text: string;
  /** Known only from before: the server is silent now. */
  readonly past?: boolean;
}

export function Status({ status, text, past }: StatusProps) {
  if (past) {
    return (
      <span class="status idle">
        <span class="dot idle" />
        <span class="cut">was {text}</span>
      </span>
    );
  }
  const h = health(status);
  return (
    <span class={`status ${h}`}>
      <span class={`dot ${h}`} />
      <span class="cut">{text}</span>
    </span>
  );
}

const STATE_TEXT = { online: 'online', offline: 'offline', stopped: 'stopped', lost: 'link lost' } as const;

export function ServerCells({ server, onDelete }: { readonly server: Server; readonly onDelete: (s: Server) => void }) {
  const load = server.loadavg[0];
  const note = server.agent === 'pm2' ? versionNote(server.versions.pm2, server.versions.node) : null;
  const used =
    server.total_mem > 0 && server.free_mem > 0
      ? ((server.total_mem - server.free_mem) / server.total_mem) * 100
      : null;
  return (
    <div class="srv" role="gridcell">
      <span class={`dot ${server.online ? 'good' : 'failed'}`} title={STATE_TEXT[server.state]} />
      <h2
        class="cut"
        title={server.hostname && server.hostname !== server.name ? `host ${server.hostname}` : undefined}
      >
        {server.name}
      </h2>
      {server.online ? null : <span class="badge bad">{STATE_TEXT[server.state]}</span>}
      {note ? (
        <span class={`badge ${note.kind}`} title={note.hint}>
          {note.text}
        </span>
      ) : null}
      <div class="facts">
        {server.cpus > 0 ? (
          <span title="Cores and load of the last minute">
            <Icon name="cpu" />
            {count(server.cpus)} cores
            {load === undefined ? null : (
              <>
                {' · load '}
                <Value text={load.toFixed(2)} measure="load" value={server.cpus > 0 ? load / server.cpus : null} />
              </>
            )}
          </span>
        ) : null}
        {server.total_mem > 0 ? (
          <span title="Memory of the host, and how much of it is used">
            <Icon name="memory" />
            {bytes(server.total_mem)}
            {used === null ? null : (
              <>
                {' · '}
                <Value text={percent(Math.round(used))} measure="host" value={used} /> used
              </>
            )}
          </span>
        ) : null}
        {server.versions.node ? <span title="Node.js on the host">node {server.versions.node}</span> : null}
        {server.versions.pm2 ? (
          <span
            title={server.agent === 'pm2' ? 'An unmodified PM2 agent' : `Pilothouse agent ${server.versions.agent}`}
          >
            {server.agent === 'pm2' ? 'pm2' : 'pilothouse'}{' '}
            {server.agent === 'pm2' ? server.versions.pm2 : server.versions.agent || server.versions.pm2}
          </span>
        ) : null}
        {server.public_ip ? <span title="Public address">{server.public_ip}</span> : null}
        {server.internal_ip ? <span title="Private address">{server.internal_ip}</span> : null}
        {server.uptime > 0 && server.online ? (
          <span title="Uptime of the host">up {span(server.uptime * 1000)}</span>
        ) : null}
      </div>
      {may('admin') ? (
        <IconButton
          icon="trash"
          label={`Delete server ${server.name}`}
          small
          tabIndex={-1}
          onClick={() => onDelete(server)}
        />
      ) : null}
    </div>
  );
}

export function StripCells({
  row,
  twins,
}: {
  readonly row: Extract<Row, { kind: 'strip' }>;
  readonly twins: readonly Server[];
}) {
  const { server, strip } = row;
  if (strip === 'offline') {
    const why =
      server.state === 'stopped'
        ? 'The daemon on this server was stopped.'
        : server.state === 'lost'
          ? 'The link to this server is lost.'
          : 'Server seems offline.';
    return (
      <div class="strip off" role="gridcell">
        <Icon name="clock" />
        <span>
          {why} Latest update <b title={stamp(server.last_seen)}>{ago(server.last_seen, now.value)}</b>. The values are
          of then.
        </span>
      </div>
    );
  }
  if (strip === 'reverse-disabled') {
    return (
      <div class="strip off" role="gridcell">
        <Icon name="plug" />
        <span>Commands are disabled on this host (PM2_REVERSE_INTERACT=false).</span>
      </div>
    );
  }
  if (strip === 'reverse') {
    return (
      <div class="strip amber" role="gridcell">
        <Icon name="warn" />
        <div>
          <b>Reverse connection not established</b>
          <div>
            Data arrives, commands do not. Check that port 43554 is open outbound, look into{' '}
            <code>~/.pm2/agent.log</code>, and run <code>pm2 link</code>.
          </div>
        </div>
      </div>
    );
  }
  return (
    <div class="strip amber" role="gridcell">
      <Icon name="warn" />
      <div>
        <b>
          {twins.length} servers are linked as “{server.name}”
        </b>
        <div>
          {twins
            .map((t) =>
              [t.username ? `${t.username}@${t.hostname}` : t.hostname, t.public_ip || t.internal_ip, t.versions.pm2]
                .filter(Boolean)
                .join(' '),
            )
            .join(' · ')}
          . Run <code>ps -ax | grep PM2</code> there and link each under its own name.
        </div>
      </div>
    </div>
  );
}

function RowButtons({ target }: { readonly target: Target }) {
  const because = obstacle(target.server);
  const on = running(target);
  const what = target.process ? `${target.app.name} ${target.process.pm_id}` : target.app.name;
  return (
    <div class="acts" role="gridcell">
      {mayAct() ? (
        on ? (
          <>
            <IconButton
              small
              icon="restart"
              label={`Restart ${what}`}
              because={because}
              tabIndex={-1}
              onClick={() => command(target, 'restart')}
            />
            <IconButton
              small
              icon="stop"
              label={`Stop ${what}`}
              because={because}
              tabIndex={-1}
              onClick={() => stop(target)}
            />
          </>
        ) : (
          <IconButton
            small
            icon="start"
            label={`Start ${what}`}
            because={because}
            tabIndex={-1}
            onClick={() => command(target, 'start')}
          />
        )
      ) : null}
      <IconButton
        small
        icon="more"
        label={`More for ${what}`}
        aria-haspopup="menu"
        tabIndex={-1}
        onClick={(e) => openMenu(e.currentTarget, `${what} on ${target.server.name}`, menuOf(target))}
      />
    </div>
  );
}

export function AppCells({
  server,
  app,
  open,
}: {
  readonly server: Server;
  readonly app: App;
  readonly open: boolean;
}) {
  const status = statusOf(app);
  const first = app.instances[0];
  const n = app.instances.length;
  const none = app.shown === 0;
  return (
    <>
      <div class="c-name" role="gridcell">
        <span class={open ? 'tog open' : 'tog'} aria-hidden="true">
          <Icon name="right" />
        </span>
        <a class="name cut" href={to.app(bucketId.value, app.name)} tabIndex={-1} data-open-app="yes">
          {app.name}
        </a>
        {n > 1 ? (
          <span class="times" title={`${n} instances`}>
            ×{n}
          </span>
        ) : null}
        {app.overPlan > 0 && !none ? <span class="badge warn">{app.shown} monitored</span> : null}
        {first && first.namespace !== '' && first.namespace !== 'default' ? (
          <span class="ns cut">{first.namespace}</span>
        ) : null}
      </div>
      {none ? (
        <div class="c-none" role="gridcell">
          not monitored: plan limit
        </div>
      ) : (
        <>
          <div class="c-status" role="gridcell">
            <Status status={status.status} text={status.text} past={!server.online} />
          </div>
          <div class="c-cpu num" role="gridcell" data-cell="cpu">
            <Value text={percent(app.cpu)} measure="cpu" value={app.cpu} />
            <Spark kind="cpu" of={app.key} value={app.cpu} idle={!server.online} />
          </div>
          <div class="c-mem num" role="gridcell" data-cell="memory">
            <Value text={bytes(app.memory)} measure="memory" value={app.memory} />
            <Spark kind="memory" of={app.key} value={app.memory} idle={!server.online} />
          </div>
          <div class="c-lat num" role="gridcell">
            <Value text={millis(app.latency)} measure="http" value={app.latency} />
          </div>
          <div class="c-loop num" role="gridcell">
            <Value text={millis(app.loop)} measure="loop" value={app.loop} />
          </div>
          <div class="c-rest num" role="gridcell" data-cell="restarts">
            <span class="live">{count(app.restarts)}</span>
          </div>
          <div class="c-up num" role="gridcell">
            <span class="live">{app.since > 0 && server.online ? span(now.value - app.since) : '–'}</span>
          </div>
        </>
      )}
      <RowButtons target={{ server, app }} />
    </>
  );
}

export function InstancesHead({ app }: { readonly app: App }) {
  return (
    <div class="ihead" role="gridcell">
      {app.instances.length === 1 ? 'Process' : `${app.instances.length} processes`}
    </div>
  );
}

export function InstanceCells({ row }: { readonly row: Extract<Row, { kind: 'instance' }> }) {
  const { server, app, process: p } = row;
  const key = `${server.id}:${p.key}`;
  const on = p.status === 'online';
  return (
    <>
      <div class="c-name" role="gridcell">
        <span class="pmid">{p.pm_id}</span>
        <span class="pid muted cut">{p.pid > 0 ? `pid ${p.pid}` : 'no pid'}</span>
        <span class="muted cut mode">{p.exec_mode.replace('_mode', '')}</span>
        {p.version && p.version !== 'N/A' ? <span class="muted cut mode">v{p.version}</span> : null}
      </div>
      {p.over_plan ? (
        <div class="c-none" role="gridcell">
          not monitored: plan limit
        </div>
      ) : (
        <>
          <div class="c-status" role="gridcell">
            <Status status={p.status} text={p.status} past={!server.online} />
          </div>
          <div class="c-cpu num" role="gridcell">
            <Value text={percent(p.cpu)} measure="cpu" value={on ? p.cpu : null} />
            <Spark kind="cpu" of={key} value={p.cpu} idle={!server.online} />
          </div>
          <div class="c-mem num" role="gridcell">
            <Value text={bytes(p.memory)} measure="memory" value={on ? p.memory : null} />
            <Spark kind="memory" of={key} value={p.memory} idle={!server.online} />
          </div>
          <div class="c-lat num" role="gridcell" />
          <div class="c-loop num" role="gridcell" />
          <div class="c-rest num" role="gridcell">
            <span class="live">{count(p.restart_time)}</span>
          </div>
          <div class="c-up num" role="gridcell">
            <span class="live">{on && p.pm_uptime > 0 && server.online ? span(now.value - p.pm_uptime) : '–'}</span>
          </div>
        </>
      )}
      <RowButtons target={{ server, app, process: p }} />
    </>
  );
}

interface TileProps {
  readonly label: string;
  readonly hint?: string;
  readonly text: string;
  readonly measure?: Measure;
  readonly value: number | null;
  readonly spark?: 'cpu' | 'memory' | 'latency' | 'loop';
  readonly of: string;
}

function Tile({ label, hint, text, measure, value, spark, of }: TileProps) {
  return (
    <div class="tile" title={hint}>
      <span class="lbl">{label}</span>
      <b>{measure ? <Value text={text} measure={measure} value={value} /> : <span class="live">{text}</span>}</b>
      {spark ? <Spark kind={spark} of={of} value={value} /> : null}
    </div>
  );
}

export function Detail({ server, app }: { readonly server: Server; readonly app: App }) {
  const target: Target = { server, app };
  const because = obstacle(server);
  const many = app.instances.length > 1;
  const mean = many ? 'Mean of the instances' : undefined;
  const git = app.instances.find((p) => p.versioning)?.versioning ?? null;
  const metrics = metricsOf(app);
  const actions = actionsOf(app);
  const status = statusOf(app);
  return (
    <div class="detail" role="gridcell">
      <div class="dhead">
        <div class="about">
          <p>
            App is{' '}
            <b class={health(status.status) === 'good' ? 'good' : health(status.status) === 'failed' ? 'bad' : 'sub'}>
              {status.text}
            </b>
            {app.since > 0 && server.online ? <> for {spanWords(now.value - app.since)}</> : null}
          </p>
          <a class="btn small" href={to.app(bucketId.value, app.name, { server: server.id })} tabIndex={-1}>
            <Icon name="gauge" />
            <span>Open app</span>
          </a>
        </div>
        <div class="tiles4">
          <Tile
            label="CPU"
            {...(mean ? { hint: mean } : {})}
            text={percent(app.cpu)}
            measure="cpu"
            value={app.cpu}
            spark="cpu"
            of={app.key}
          />
          <Tile
            label="Memory"
            {...(mean ? { hint: mean } : {})}
            text={bytes(app.memory)}
            measure="memory"
            value={app.memory}
            spark="memory"
            of={app.key}
          />
          <Tile
            label="HTTP latency"
            text={millis(app.latency)}
            measure="http"
            value={app.latency}
            spark="latency"
            of={app.key}
          />
          <Tile
            label="Event loop lag"
            text={millis(app.loop)}
            measure="loop"
            value={app.loop}
            spark="loop"
            of={app.key}
          />
        </div>
        <div class="git">
          <span class="lbl">Versioning</span>
          {git ? (
            <>
              {git.url ? (
                <span class="cut" title={git.url}>
                  {/^https?:\/\//.test(git.url) ? (
                    <a href={git.url} rel="noreferrer" target="_blank" tabIndex={-1}>
                      {git.url.replace(/^https?:\/\//, '')}
                    </a>
                  ) : (
                    git.url
                  )}
                </span>
              ) : null}
              <span class="cut">
                <Icon name="branch" /> <b>{[git.branch, git.revision.slice(0, 10)].filter(Boolean).join(' · ')}</b>
              </span>
              {git.comment ? (
                <span class="cut sub" title={git.comment}>
                  “{git.comment}”
                </span>
              ) : null}
              {git.unstaged ? <b class="bad">Unstaged changes</b> : null}
            </>
          ) : (
            <span class="muted">N/A</span>
          )}
        </div>
        <div class="dacts">
          {mayAct() ? (
            <>
              <Button
                kind="small"
                icon="reload"
                because={because}
                tabIndex={-1}
                onClick={() => command(target, 'reload')}
              >
                Reload
              </Button>
              <Button
                kind="small"
                icon="reset"
                because={because}
                tabIndex={-1}
                onClick={() => command(target, 'reset')}
              >
                Reset
              </Button>
            </>
          ) : null}
          <a class="btn small" href={to.logs(bucketId.value, { server: server.id, app: app.name })} tabIndex={-1}>
            <Icon name="logs" />
            <span>Logs</span>
          </a>
        </div>
      </div>
      {metrics.length > 0 ? (
        <div class="mstrip">
          <span class="lbl">Metrics</span>
          <dl>
            {metrics.map((m) => (
              <div key={m.name}>
                <dt class="cut" title={m.name}>
                  {m.name}
                </dt>
                <dd class="live">{metric(m.value, m.unit)}</dd>
              </div>
            ))}
          </dl>
        </div>
      ) : null}
      {actions.length > 0 ? (
        <div class="astrip">
          <span class="lbl">Actions</span>
          <div>
            {mayAct()
              ? actions.map((a) => (
                  <Button key={a} kind="small" because={because} tabIndex={-1} onClick={() => own(target, a)}>
                    {a}
                  </Button>
                ))
              : actions.join(', ')}
          </div>
        </div>
      ) : null}
    </div>
  );
}
