// Loaded into every process of the estate before its program: it ends with whoever started it, also where that one was
// killed and could say nothing. The kernel then closes the channel between the two.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
// The channel alone keeps nobody alive.
process.channel?.unref();
