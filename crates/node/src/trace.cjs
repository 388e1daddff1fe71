'use strict';
// Loaded into Node apps that are to be traced (`trace`), after the script that monitors them: starts OpenTelemetry with the packages of
// `install-otel`, and sends what it measures on the IPC channel, in the form of PM2's dashboards (Zipkin v2, one message a span). Where the
// app says by the usual variables where its spans shall go, they go there.
const folder = process.env.PILOTHOUSE_OTEL;
delete process.env.PILOTHOUSE_OTEL;
const own = process.execArgv.indexOf(__filename);
if (own > 0 && process.execArgv[own - 1] === '--require') process.execArgv.splice(own - 1, 2);

/** Spans that took no longer are left out, in microseconds. */
const SHORTEST = 1000;
/** Names that the dashboards read, and where their values come from. */
const OLD_NAMES = {
  'http.method': 'http.request.method',
  'http.status_code': 'http.response.status_code',
  'http.url': 'url.full',
  'http.scheme': 'url.scheme',
};
const KINDS = [undefined, 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];

const toManager = process.send?.bind(process);

if (folder && process.connected) {
  try {
    begin(require('node:module').createRequire(`${folder}/package.json`));
  } catch (error) {
    console.error('[PM2][ERROR] OpenTelemetry packages not installed. Tracing disabled.');
    console.error(`[PM2][ERROR] To enable tracing, run: pm2 install-otel (${String(error).split('\n', 1)[0]})`);
  }
}

function begin(load) {
  const { NodeSDK } = load('@opentelemetry/sdk-node');
  const { getNodeAutoInstrumentations } = load('@opentelemetry/auto-instrumentations-node');
  const serviceName = process.env.OTEL_SERVICE_NAME || process.env.name || 'outside-pm2';
  const elsewhere = ['OTEL_TRACES_EXPORTER', 'OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  const sdk = new NodeSDK({
    serviceName,
    ...(elsewhere.some((name) => process.env[name]) ? {} : { traceExporter: exporter(serviceName) }),
    instrumentations: [
      getNodeAutoInstrumentations({
        '@opentelemetry/instrumentation-dns': { enabled: false },
        '@opentelemetry/instrumentation-fs': { enabled: false },
        '@opentelemetry/instrumentation-net': { enabled: false },
        '@opentelemetry/instrumentation-http': { ignoreIncomingRequestHook: isOfNoInterest },
      }),
    ],
  });
  sdk.start();
  tell('axm:option:configuration', { otel_tracing: true, tracing: { enabled: true, outbound: true } });
}

function tell(type, data) {
  try {
    if (process.connected) toManager({ type, data }, () => {});
  } catch {
    // The manager is gone: the app is not to suffer.
  }
}

/** Files of a page, and questions about a page. */
function isOfNoInterest({ method, url = '' }) {
  return method === 'OPTIONS' || method === 'HEAD' || /\.(?:js|css|png|ico|svg)(?:\?|$)|webpack/.test(url);
}

function exporter(serviceName) {
  return {
    export(spans, done) {
      for (const span of spans) {
        const told = zipkin(span, serviceName);
        if (told.duration > SHORTEST && !(told.kind === 'CLIENT' && !told.parentId)) tell('trace-span', told);
      }
      done({ code: 0 });
    },
    forceFlush: async () => {},
    shutdown: async () => {},
  };
}

function zipkin(span, serviceName) {
  const { traceId, spanId } = span.spanContext();
  const tags = {};
  for (const [name, value] of Object.entries(span.attributes)) tags[name] = String(value);
  for (const [old, name] of Object.entries(OLD_NAMES)) {
    if (tags[name] !== undefined) tags[old] ??= tags[name];
  }
  if (tags['url.path'] !== undefined) {
    const query = tags['url.query'];
    tags['http.target'] ??= query === undefined ? tags['url.path'] : `${tags['url.path']}?${query}`;
  }
  if (span.status.code !== 0) tags['otel.status_code'] = span.status.code === 1 ? 'OK' : 'ERROR';
  if (span.status.code === 2 && span.status.message) tags.error = span.status.message;
  for (const kind of ['Attributes', 'Events', 'Links']) {
    const lost = span[`dropped${kind}Count`];
    if (lost) tags[`otel.dropped_${kind.toLowerCase()}_count`] = String(lost);
  }
  for (const [name, value] of Object.entries(span.resource.attributes)) tags[name] = String(value);
  return {
    traceId,
    parentId: span.parentSpanContext?.spanId,
    name: span.name,
    id: spanId,
    kind: KINDS[span.kind],
    timestamp: micros(span.startTime),
    duration: micros(span.duration),
    localEndpoint: { serviceName },
    tags,
    annotations: span.events.length > 0 ? span.events.map(({ time, name }) => ({ timestamp: micros(time), value: name })) : undefined,
  };
}

const micros = ([seconds, nanos]) => Math.round(seconds * 1e6 + nanos / 1000);
