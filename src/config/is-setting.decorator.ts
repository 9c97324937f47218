import { registerDecorator } from 'class-validator';

import type { SettingType } from './setting-type.js';

/** Checks with class-validator that a variable, where it is set, is of this type. The message is what is accepted. */
export function IsSetting(type: SettingType<unknown>): PropertyDecorator {
  return (target, property) =>
    registerDecorator({
      name: 'isSetting',
      target: target.constructor,
      propertyName: String(property),
      options: { message: type.accepted },
      validator: { validate: (value: unknown) => value === undefined || accepts(type, value) },
    });
}

function accepts(type: SettingType<unknown>, value: unknown): boolean {
  try {
    type.parse(String(value));
    return true;
  } catch {
    return false;
  }
}
