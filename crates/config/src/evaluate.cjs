// Evaluates a configuration in the user's node (or bun, or deno) and writes one line of JSON to descriptor 3.
// argv: kind ("file" or "expression"), path or name. The expression comes by standard input.
'use strict'
const fs = require('fs')
const url = require('url')
// What stands before them differs.
const [kind, target] = process.argv.slice(-2)
// What `require` of the module sees as the command line should not be ours.
process.argv = [process.execPath, target]

const done = (answer) => {
  let line
  try {
    line = JSON.stringify(answer)
  } catch (error) {
    line = JSON.stringify({ error: { message: 'the value has no JSON form: ' + String(error.message).split('\n')[0] } })
  }
  const bytes = Buffer.from(line + '\n')
  // Deno numbers descriptors by itself, and has to open this one.
  const out = typeof Deno === 'object' ? fs.openSync('/dev/fd/3', 'w') : 3
  for (let at = 0; at < bytes.length;) {
    try {
      at += fs.writeSync(out, bytes, at)
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
  process.exit(0)
}

const place = (stack) => {
  const lines = String(stack || '').split('\n')
  // A syntax error begins with "file:line", the source line, and a mark below the column.
  const head = /^(.*):(\d+)$/.exec(lines[0])
  if (head && lines.length > 2) {
    const mark = lines[2] ? lines[2].indexOf('^') : -1
    return { file: head[1].replace(/^file:\/\//, ''), line: Number(head[2]), column: mark + 1 }
  }
  const frames = lines.map((l) => /(?:\(|at (?:async )?)(?:file:\/\/)?([^()]+?):(\d+):(\d+)\)?$/.exec(l)).filter(Boolean)
  const users = frames.filter((f) => !f[1].startsWith('node:') && !f[1].startsWith('[eval'))
  const frame = users.find((f) => !f[1].includes('/node_modules/')) || users[0]
  return frame ? { file: frame[1], line: Number(frame[2]), column: Number(frame[3]) } : {}
}

const fail = (error) => {
  if (error === null || typeof error !== 'object') {
    return done({ error: { message: 'it threw ' + String(error) } })
  }
  const missing = error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_MODULE_NOT_FOUND'
  done({
    error: {
      name: error.name,
      message: String(error.message).split('\n')[0],
      missing: missing ? (/'([^']+)'/.exec(error.message) || [])[1] : undefined,
      ...place(error.stack)
    }
  })
}
process.on('uncaughtException', fail)
process.on('unhandledRejection', fail)

const unwrap = async (value) => {
  value = await value
  // A module's namespace, or what a compiler makes of `export default`.
  if (value && typeof value === 'object' && value.default !== undefined && value.apps === undefined && value.script === undefined) {
    value = await value.default
  }
  if (typeof value === 'function') throw new Error('it exports a function, an object with `apps` is expected')
  return value
}

const load = async () => {
  if (kind === 'expression') {
    const vm = require('vm')
    return vm.runInThisContext('(' + fs.readFileSync(0, 'utf8') + '\n)', { filename: target, timeout: 1000 })
  }
  if (!/\.mjs$/.test(target)) {
    try {
      return require(target)
    } catch (error) {
      const module = error.code === 'ERR_REQUIRE_ESM' || error.code === 'ERR_REQUIRE_ASYNC_MODULE' ||
        (error instanceof SyntaxError && /import statement|Unexpected token 'export'|import\.meta/.test(error.message))
      if (!module) throw error
    }
  }
  return import(url.pathToFileURL(target).href)
}

load().then(unwrap).then((value) => {
  if (value === undefined || value === null) throw new Error('it exports nothing, an object with `apps` is expected')
  done({ value })
}).catch(fail)
