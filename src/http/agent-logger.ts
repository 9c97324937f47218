import { Injectable } from '@nestjs/common';
import { Logger } from 'nestjs-pino';

/** What the framework says, at every start, of modules and routes that never change. */
const FRAMEWORK_CONTEXTS: ReadonlySet<unknown> = new Set([
  'InstanceLoader',
  'NestApplication',
  'NestFactory',
  'RouterExplorer',
  'RoutesResolver',
]);

/** The application's log: everything but the framework's own start-up lines; its warnings and errors stay. */
@Injectable()
export class AgentLogger extends Logger {
  override log(message: unknown, ...optional: unknown[]): void {
    if (!FRAMEWORK_CONTEXTS.has(optional.at(-1))) super.log(message, ...optional);
  }
}
