// For `node --require`: whatever host a server of this process names, it listens on loopback.
'use strict';

const { Server } = require('node:net');

const HOST = '127.0.0.1';
const listen = Server.prototype.listen;

Server.prototype.listen = function (first, ...rest) {
  if (first !== null && typeof first === 'object' && first.port !== undefined) {
    return listen.call(this, { ...first, host: HOST }, ...rest);
  }
  if (Number.isInteger(Number(first)) && typeof first !== 'function') {
    const callback = rest.filter((argument) => typeof argument === 'function');
    return listen.call(this, { port: Number(first), host: HOST }, ...callback);
  }
  return listen.call(this, first, ...rest);
};
