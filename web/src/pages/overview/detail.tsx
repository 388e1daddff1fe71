/** The open part of an app: big numbers over their last minute, versioning, metrics, the actions it offers. */
import { health, type Measure } from '../../format/severity';
import { spanWords } from '../../format/time';
import { bytes, metric, millis, percent } from '../../format/units';
import type { Server } from '../../link/protocol';
import { to } from '../../router';
import { type App, metricsOf, statusOf } from '../../store/apps';
import { bucketId } from '../../store/buckets';
import { now } from '../../store/live';
import { Button } from '../../ui/controls';
import { Icon } from '../../ui/icons';
import { command, mayAct, objection, own, type Target } from '../commands';
import { Spark, Value } from '../values';
import { actionsOf } from './rows';

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
                because={objection(target, 'reload')}
                tabIndex={-1}
                onClick={() => command(target, 'reload')}
              >
                Reload
              </Button>
              <Button
                kind="small"
                icon="reset"
                because={objection(target, 'reset')}
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
                  <Button
                    key={a.name}
                    kind="small"
                    because={objection(target, 'custom')}
                    tabIndex={-1}
                    onClick={() => own(target, a)}
                  >
                    {a.param ? `${a.name}…` : a.name}
                  </Button>
                ))
              : actions.map((a) => a.name).join(', ')}
          </div>
        </div>
      ) : null}
    </div>
  );
}
