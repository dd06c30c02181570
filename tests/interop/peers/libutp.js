// One uTP connection by libutp, for the interoperability tests.
//
//   node libutp.js listen [options]              waits for one connection on an ephemeral port of 127.0.0.1
//   node libutp.js connect PORT [options]        connects to 127.0.0.1:PORT
//
//   --send N        bytes of the test pattern to send (default 0)
//   --close KIND    first: send, FIN at once, go on reading to the other side's FIN (default)
//                   last:  send one byte, read to the other side's FIN, only then send the rest, then FIN
//                          (the byte, because who accepts may not send before it has heard the other side)
//                   reset: send, then vanish without FIN as soon as --receive bytes came
//   --receive N     only with --close reset
//   --limit S       give up after so many seconds (default 120)
//
// Prints JSON lines: {"event":"listening","port":P}, {"event":"connected"}, and at the end
// {"event":"done","sent":N,"received":N,"sha256":"..."} or {"event":"failed","error":"..."} with exit code 1.
'use strict'

const crypto = require('crypto')
const path = require('path')

const peers = process.env.EBBTIDE_PEERS || path.join(__dirname, '../../../target/peers')
const utp = require(path.join(peers, 'node_modules/utp-native'))

const CHUNK = 64 * 1024
const KERNEL_BUFFER = 4 * 1024 * 1024

function main (args) {
  const role = args.shift()
  const port = role === 'connect' ? Number(args.shift()) : 0
  const options = { send: 0, receive: 0, close: 'first', limit: 120 }
  while (args.length > 0) {
    const name = args.shift().replace(/^--/, '')
    const value = args.shift()
    if (!(name in options) || value === undefined) fail(new Error('unknown option ' + name))
    options[name] = name === 'close' ? value : Number(value)
  }
  setTimeout(() => fail(new Error('time limit')), options.limit * 1000).unref()

  const socket = utp()
  socket.on('error', fail)
  if (role === 'listen') {
    socket.bind(0, '127.0.0.1', () => {
      enlarge(socket)
      socket.listen()
      say({ event: 'listening', port: socket.address().port })
    })
    socket.once('connection', connection => {
      socket.firewall(true)
      talk(socket, connection, options)
    })
  } else if (role === 'connect' && port > 0) {
    socket.bind(0, '127.0.0.1', () => {
      enlarge(socket)
      talk(socket, socket.connect(port, '127.0.0.1'), options)
    })
  } else {
    fail(new Error('usage: libutp.js listen | connect PORT'))
  }
}

function talk (socket, connection, options) {
  const hash = crypto.createHash('sha256')
  const state = { sent: 0, received: 0, finished: false }
  const finish = () => {
    if (state.finished) return
    state.finished = true
    say({ event: 'done', sent: state.sent, received: state.received, sha256: hash.digest('hex') })
    // The FIN may still be on its way: the process ends by itself when libutp has let go of the connection.
    socket.close()
  }
  connection.on('connect', () => say({ event: 'connected' }))
  connection.on('error', error => state.finished || fail(error))
  connection.on('data', data => {
    hash.update(data)
    state.received += data.length
    if (options.close === 'reset' && state.received >= options.receive) {
      say({ event: 'done', sent: state.sent, received: state.received, sha256: hash.digest('hex') })
      process.exit(0)
    }
  })
  connection.on('end', () => {
    if (options.close === 'last') send(connection, options.send, state, true)
  })
  connection.on('close', finish)
  if (options.close === 'last') send(connection, Math.min(1, options.send), state, false)
  else send(connection, options.send, state, options.close === 'first')
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

function send (connection, length, state, end) {
  const more = () => {
    if (connection.destroyed) return
    if (state.sent >= length) {
      if (end) connection.end()
      return
    }
    const chunk = pattern(state.sent, Math.min(CHUNK, length - state.sent))
    connection.write(chunk, () => {
      state.sent += chunk.length
      more()
    })
  }
  more()
}

// The system's usual 208 KiB overflow at once; it grants what it allows.
function enlarge (socket) {
  socket.setRecvBufferSize(KERNEL_BUFFER)
  socket.setSendBufferSize(KERNEL_BUFFER)
}

function say (event) {
  process.stdout.write(JSON.stringify(event) + '\n')
}

function fail (error) {
  say({ event: 'failed', error: error.message })
  process.exit(1)
}

main(process.argv.slice(2))
