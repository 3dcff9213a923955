/**
 * Options of our server, each one command. Also applied to a server that already runs. `remain-on-exit`: the
 * last screen stays readable, and nothing is written over it (the format is empty). `-q` where 3.2 lacks the
 * option. Never `window-size manual` here: with it, up to 3.6, the next new window ends the whole server.
 */
export const SERVER_OPTIONS: readonly (readonly string[])[] = [
  ['set-option', '-s', 'exit-empty', 'off'],
  ['set-option', '-s', 'escape-time', '0'],
  ['set-option', '-s', 'set-clipboard', 'off'],
  ['set-option', '-s', 'default-terminal', 'screen-256color'],
  ['set-option', '-s', 'message-limit', '20'],
  ['set-option', '-g', 'update-environment', ''],
  ['set-option', '-g', 'default-shell', '/bin/sh'],
  ['set-option', '-g', 'default-size', '200x50'],
  ['set-option', '-g', 'history-limit', '2000'],
  ['set-option', '-g', 'destroy-unattached', 'off'],
  ['set-option', '-g', 'bell-action', 'none'],
  ['set-option', '-g', 'status-left', ''],
  ['set-option', '-g', 'status-right', ''],
  ['set-option', '-gw', 'remain-on-exit', 'on'],
  ['set-option', '-gqw', 'remain-on-exit-format', ''],
  ['set-option', '-gw', 'automatic-rename', 'off'],
  ['set-option', '-gw', 'allow-rename', 'off'],
  ['set-option', '-gqw', 'allow-passthrough', 'off'],
]
