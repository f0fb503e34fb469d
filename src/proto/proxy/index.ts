export * from '../gen/proxy_pb.ts';
