import { describe, expect, test } from 'vitest';
import { hostsOfText, hostsOfVariables } from './hosts.ts';

const found = (text: string) => hostsOfText(text).map(({ host, port }) => `${host}:${port ?? '-'}`);

describe('a value names', () => {
  test.each([
    ['currencyservice:7000', ['currencyservice:7000']],
    ['http://orders.shop.svc:80/x', ['orders.shop.svc:80']],
    ['http://orders/x', ['orders:80']],
    ['https://api.example.com?x=1', ['api.example.com:443']],
    ['redis://redis-cart:6379/0', ['redis-cart:6379']],
    ['redis://:s3cret@redis-cart:6379', ['redis-cart:6379']],
    ['postgres://user:5432@db/x', ['db:-']],
    ['user:5432@db:5433', ['db:5433']],
    ['jdbc:mysql://db:3306/x?useSSL=false', ['db:3306']],
    ['jdbc:oracle:thin:@db:1521:ORCL', ['db:1521']],
    ['jdbc:oracle:thin:@//db:1521/ORCL', ['db:1521']],
    ['jdbc:sqlserver://db:1433;databaseName=x', ['db:1433']],
    ['a:1,b:2', ['a:1', 'b:2']],
    ['mongodb://u:p@a:1,b:2/db', ['a:1', 'b:2']],
    ['http://a:1,http://b:2', ['a:1', 'b:2']],
    ['nats://a:4222, nats://b:4222', ['a:4222', 'b:4222']],
    ['dns:///orders:50051', ['orders:50051']],
    ['PLAINTEXT://kafka:9092', ['kafka:9092']],
    ['wget -q http://web:8080/ready && curl pay:81', ['web:8080', 'pay:81']],
    ['{"addr":"cart:7070","url":"http://web/"}', ['web:80', 'cart:7070']],
    ["targets: ['a:9090', 'b:9091']", ['a:9090', 'b:9091']],
    ['proxy_pass http://orders:80;', ['orders:80']],
    ['--upstream=Cart.Shop:80', ['cart.shop:80']],
    ['10.96.0.7:443', ['10.96.0.7:443']],
    ['cart:7070 cart:7070', ['cart:7070']],
  ])('%s', (text, expected) => expect(found(text).toSorted()).toEqual(expected.toSorted()));

  test.each([
    ':8080',
    '0.0.0.0:8080',
    'localhost:80',
    'http://localhost:80',
    'http://127.0.0.1:9000/x',
    '[::1]:80',
    'registry.example.com/team/app:5000',
    'sha256:12345678',
    '2026-01-02T10:20:30Z',
    '10:20',
    'cart:0',
    'cart:65536',
    'cart:70700000',
    'cart:80-90',
    'a:b:80',
    '$(HOST):80',
    '${HOST}:80',
    'unix:///run/x.sock',
    'http://',
    'file:///etc/x',
    '',
  ])('nobody: %s', (text) => expect(found(text)).toEqual([]));
});

describe('variables', () => {
  const named = (variables: Record<string, string>) =>
    hostsOfVariables(Object.entries(variables).map(([name, value]) => ({ name, value }))).map(
      ({ variable, host }) => `${variable.name}=${host.host}:${host.port ?? '-'}`,
    );

  test.each([
    [{ REDIS_HOST: 'redis', REDIS_PORT: '6379' }, ['REDIS_HOST=redis:6379']],
    [{ DB_SERVICE_HOST: 'db', DB_SERVICE_PORT: '5432' }, ['DB_SERVICE_HOST=db:5432']],
    [{ CART_SERVICE: 'cart', CART_PORT: '80' }, ['CART_SERVICE=cart:80']],
    [{ CART_ADDR: 'cart', CART_ADDR_PORT: '80' }, ['CART_ADDR=cart:80']],
    [{ 'spring.redis.host': 'redis', 'spring.redis.port': '6379' }, ['spring.redis.host=redis:6379']],
    [{ redisHost: 'redis', redisPort: '6379' }, ['redisHost=redis:6379']],
    [{ REDIS_HOST: 'redis' }, ['REDIS_HOST=redis:-']],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://otel:4317' }, ['OTEL_EXPORTER_OTLP_ENDPOINT=otel:4317']],
  ])('%o name a host and the port beside it', (variables, expected) => {
    expect(named(variables)).toEqual(expected);
  });

  test.each([
    [{ HOST: 'web', PORT: '80' }],
    [{ LISTEN_ADDR: '0.0.0.0' }],
    [{ LISTEN_ADDR: 'web:80' }],
    [{ BIND_HOST: 'web', BIND_PORT: '80' }],
    [{ KAFKA_ADVERTISED_LISTENERS: 'PLAINTEXT://kafka:9092' }],
    [{ MY_SERVICE: 'web' }],
    [{ LOG_LEVEL: 'debug' }],
    [{ REDIS_HOST: 'localhost', REDIS_PORT: '6379' }],
    [{ REDIS_HOST: 'two words', REDIS_PORT: '6379' }],
  ])('%o are a workload’s own, or no address', (variables) => expect(named(variables)).toEqual([]));
});

describe('a hostile value', () => {
  test.each([
    ['colons', ':'.repeat(1_000_000)],
    ['one long word', 'a'.repeat(1_000_000)],
    ['long words with ports', `${'a'.repeat(300)}:80 `.repeat(3000)],
    ['schemes', 'http://'.repeat(140_000)],
    ['one authority', `http://${'a,'.repeat(400_000)}`],
  ])('of %s names nobody', (_, text) => expect(found(text).filter((host) => host !== 'a:80')).toEqual([]));

  test('of a million hosts names the first five hundred', () => {
    expect(found(Array.from({ length: 100_000 }, (_, i) => `h${i}:80`).join(' '))).toHaveLength(500);
  });
});
