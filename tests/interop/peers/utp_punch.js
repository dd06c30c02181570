// One connection by utp-punch 1.0.1, for the interoperability tests of the dialect.
//
//   node utp_punch.js listen [options]           waits for one connection on an ephemeral port of 127.0.0.1
//   node utp_punch.js connect PORT [options]     connects to 127.0.0.1:PORT
//   node utp_punch.js idle                       has a socket, and nobody listens
//
//   --punch PORT    before that, punches to 127.0.0.1:PORT, from the port that it says in {"event":"bound"}
//   --send N        bytes of the test pattern to send (default 0)
//   --receive N     bytes to expect (default 0)
//   --close KIND    first: end when everything is sent and received (default)
//                   last: end when the other side has
//                   echo: send back whatever comes
//   --limit S       give up after so many seconds (default 120)
//
// Prints JSON lines: {"event":"bound","port":P}, {"event":"listening","port":P}, {"event":"punched"},
// {"event":"connected"}, and at the end {"event":"done","sent":N,"received":N,"sha256":"..."} or
// {"event":"failed","error":"..."} with exit code 1. After "done" it stays, silent but for what the package sends, until
// it is killed: what a node answers after its connections are gone is part of what is tested.
'use strict'

const crypto = require('crypto')
const path = require('path')

const peers = process.env.EBBTIDE_PEERS || path.join(__dirname, '../../../target/peers')
const Node = require(path.join(peers, 'node_modules/utp-punch'))

const CHUNK = 64 * 1024
const ATTEMPTS = 20

function main (args) {
  const role = args.shift()
  const port = role === 'connect' ? Number(args.shift()) : 0
  const options = { punch: 0, send: 0, receive: 0, close: 'first', limit: 120 }
  while (args.length > 0) {
    const name = args.shift().replace(/^--/, '')
    const value = args.shift()
    if (!(name in options) || value === undefined) fail(new Error('unknown option ' + name))
    options[name] = name === 'close' ? value : Number(value)
  }
  setTimeout(() => fail(new Error('time limit')), options.limit * 1000)

  const node = new Node(connection => talk(connection, options))
  node.on('error', fail)
  node.bind(0, '127.0.0.1', () => {
    say({ event: 'bound', port: node.address().port })
    punch(node, options.punch, () => {
      if (role === 'listen') {
        node.listen(() => say({ event: 'listening', port: node.address().port }))
      } else if (role === 'connect' && port > 0) {
        node.connect(port, '127.0.0.1', connection => talk(connection, options))
      } else if (role !== 'idle') {
        fail(new Error('usage: utp_punch.js listen | connect PORT | idle'))
      }
    })
  })
}

function punch (node, port, then) {
  if (port === 0) return then()
  node.punch(ATTEMPTS, port, '127.0.0.1', success => {
    if (!success) return fail(new Error('the punch failed'))
    say({ event: 'punched' })
    then()
  })
}

function talk (connection, options) {
  const hash = crypto.createHash('sha256')
  const state = { sent: 0, received: 0, finished: false }
  const endIfDone = () => {
    const all = state.sent >= options.send && state.received >= options.receive
    if (options.close === 'first' && all) connection.end()
  }
  say({ event: 'connected' })
  connection.on('error', fail)
  connection.on('data', data => {
    hash.update(data)
    state.received += data.length
    if (options.close === 'echo') connection.write(data, () => { state.sent += data.length })
    endIfDone()
  })
  connection.on('close', () => {
    if (state.finished) return
    state.finished = true
    say({ event: 'done', sent: state.sent, received: state.received, sha256: hash.digest('hex') })
  })
  send(connection, options.send, state, endIfDone)
}

// The pattern b[i] = (31 i + 17 (i >> 8) + 7 (i >> 16)) mod 256.
function pattern (from, length) {
  const chunk = Buffer.allocUnsafe(length)
  for (let k = 0; k < length; k++) {
    const i = from + k
    chunk[k] = (31 * i + 17 * (i >>> 8) + 7 * (i >>> 16)) & 255
  }
  return chunk
}

function send (connection, length, state, done) {
  if (state.sent >= length) return done()
  const chunk = pattern(state.sent, Math.min(CHUNK, length - state.sent))
  connection.write(chunk, () => {
    state.sent += chunk.length
    send(connection, length, state, done)
  })
}

function say (event) {
  process.stdout.write(JSON.stringify(event) + '\n')
}

function fail (error) {
  say({ event: 'failed', error: error.message })
  process.exit(1)
}

main(process.argv.slice(2))
