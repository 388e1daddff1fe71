/** The rows of the overview. Each is one line of a treegrid with a fixed height. */
import { away, back, badge } from '../../format/absence';
import { checksOf, ill } from '../../format/checks';
import { ago, span, stamp } from '../../format/time';
import { bytes, count, millis, percent } from '../../format/units';
import { bare, versionNote } from '../../format/versions';
import type { Server } from '../../link/protocol';
import { to } from '../../router';
import { type App, statusOf } from '../../store/apps';
import { bucket, bucketId, may } from '../../store/buckets';
import { now } from '../../store/live';
import { IconButton } from '../../ui/controls';
import { Icon } from '../../ui/icons';
import { openMenu } from '../../ui/overlay';
import {
  barrier,
  command,
  mayAct,
  menuOf,
  objection,
  obstacle,
  running,
  serverMenuOf,
  stop,
  type Target,
} from '../commands';
import { Spark, Status, Value } from '../values';
import type { Row } from './rows';

interface ServerCellsProps {
  readonly server: Server;
  readonly twins: readonly Server[];
  readonly onCheck: (s: Server) => void;
  readonly onDelete: (s: Server) => void;
}

export function ServerCells({ server, twins, onCheck, onDelete }: ServerCellsProps) {
  const load = server.loadavg[0];
  const told = versionNote(server.versions.pm2, server.versions.node);
  // Ours is renewed by other means than the hint for PM2 says; a Node that is too old is too old for both.
  const note = server.agent === 'pm2' || told?.kind === 'bad' ? told : null;
  const problems = ill(checksOf(server, { twins, limit: bucket.value?.limit ?? null, now: now.value }));
  const used =
    server.total_mem > 0 && server.free_mem > 0
      ? ((server.total_mem - server.free_mem) / server.total_mem) * 100
      : null;
  return (
    <div class="srv" role="gridcell">
      <span class={`dot ${server.online ? 'good' : 'failed'}`} title={badge(server.state, server.absence)} />
      <h2
        class="cut"
        title={server.hostname && server.hostname !== server.name ? `host ${server.hostname}` : undefined}
      >
        {server.name}
      </h2>
      {server.online ? null : <span class="badge bad">{badge(server.state, server.absence)}</span>}
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
        {server.versions.node ? <span title="Node.js on the host">node {bare(server.versions.node)}</span> : null}
        {server.versions.pm2 ? (
          <span
            title={server.agent === 'pm2' ? 'An unmodified PM2 agent' : `Pilothouse agent ${server.versions.agent}`}
          >
            {server.agent === 'pm2' ? 'pm2' : 'pilothouse'}{' '}
            {server.agent === 'pm2' ? server.versions.pm2 : server.versions.agent || server.versions.pm2}
          </span>
        ) : null}
        {server.public_ip && server.public_ip !== server.internal_ip ? (
          <span title="Public address">{server.public_ip}</span>
        ) : null}
        {server.internal_ip ? <span title="Private address">{server.internal_ip}</span> : null}
        {server.uptime > 0 && server.online ? (
          <span title="Uptime of the host">up {span(server.uptime * 1000)}</span>
        ) : null}
      </div>
      <IconButton
        icon={problems > 0 ? 'warn' : 'activity'}
        label={
          problems > 0 ? `Check the link of ${server.name}: ${problems} to look at` : `Check the link of ${server.name}`
        }
        small
        on={problems > 0}
        tabIndex={-1}
        aria-haspopup="dialog"
        onClick={() => onCheck(server)}
      />
      {mayAct() ? (
        <IconButton
          icon="more"
          label={`More for server ${server.name}`}
          small
          aria-haspopup="menu"
          tabIndex={-1}
          onClick={(e) => openMenu(e.currentTarget, server.name, serverMenuOf(server), obstacle(server))}
        />
      ) : null}
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
    return (
      <div class="strip off" role="gridcell">
        <Icon name="clock" />
        <span>
          {away(server.absence)} Latest update <b title={stamp(server.last_seen)}>{ago(server.last_seen, now.value)}</b>
          . The values are of then.
        </span>
      </div>
    );
  }
  if (strip === 'back') {
    return (
      <div class="strip off" role="gridcell">
        <Icon name="clock" />
        <span title={server.absence ? `Away since ${stamp(server.absence.since)}` : undefined}>
          {back(server.absence, server.absence?.until ?? 0)}
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
  const because = (verb: string) => objection(target, verb);
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
              because={because('restart')}
              tabIndex={-1}
              onClick={() => command(target, 'restart')}
            />
            <IconButton
              small
              icon="stop"
              label={`Stop ${what}`}
              because={because('stop')}
              tabIndex={-1}
              onClick={() => stop(target)}
            />
          </>
        ) : (
          <IconButton
            small
            icon="start"
            label={`Start ${what}`}
            because={because('start')}
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
        onClick={(e) => openMenu(e.currentTarget, `${what} on ${target.server.name}`, menuOf(target), barrier(target))}
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
        {first?.module ? <span class="badge">module</span> : null}
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
